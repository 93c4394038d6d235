"""Providers of recognition: installed models and remote services."""
