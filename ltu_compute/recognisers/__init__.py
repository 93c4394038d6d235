"""What answers recognition: installed models and remote providers."""
