"""Who a request comes from: tokens, the keys that sign them, and identity providers."""
