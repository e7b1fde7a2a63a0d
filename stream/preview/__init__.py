"""The preview page: before and after of what is being restored, live in a browser."""
