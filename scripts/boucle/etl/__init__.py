"""From sources to the lake, and from there to the warehouse; `loading` is the way in."""
