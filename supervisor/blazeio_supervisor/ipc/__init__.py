"""What our processes say to each other: messages, scoreboard, control socket."""
