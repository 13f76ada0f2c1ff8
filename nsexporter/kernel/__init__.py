"""The only code that opens kernel files, and nothing else does."""
