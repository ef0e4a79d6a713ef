"""What the examples of the documentation need around them."""
