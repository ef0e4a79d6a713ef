"""How the model does in production: windows of rows, one observation of them, and who makes it."""
