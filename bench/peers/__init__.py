"""What users would run instead, as arms of our own scenarios, and every claim that is made against them."""
