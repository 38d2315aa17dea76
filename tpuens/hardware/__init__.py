"""What is here: devices, and the distribution strategies over them."""
