"""From what customers did to what they will do. Pure: arrays in, arrays out."""
