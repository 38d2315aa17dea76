"""What records say: everything here is derived on read, nothing is stored."""
