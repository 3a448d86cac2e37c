"""From features to segments to archetypes. Pure: arrays in, arrays out."""
