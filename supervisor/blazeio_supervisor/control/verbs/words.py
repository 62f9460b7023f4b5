"""The verbs by name, one line each; known before anything of them is loaded."""

PROGRAM = "blazeio-supervisor"

VERBS = {
    "status": "what runs: workers, their load, a reload under way",
    "top": "the same, live, with keys to order something",
    "stack": "where a worker is: its threads and tasks, also when it is blocked",
    "events": "what has happened; --follow: and what happens",
    "metrics": "the figures, as Prometheus reads them",
    "config": "every setting in force, and where it came from",
    "doctor": "what could be better here: kernel, limits, certificates",
    "reload": "load the code anew; --wait tells whether it worked",
    "scale": "have N workers, or +N more, or -N less",
    "recycle": "replace the worker of one slot, or all, with the same code",
    "park": "let nobody serve for a while; new connections wait",
    "resume": "serve again after `park`",
    "upgrade": "go on with the code of the supervisor that is installed now",
    "reopen-logs": "write to new log files, after the old ones were renamed",
    "stop": "answer what is in flight, then end; waits for that",
    "unit": "print a systemd unit for APP with its options; --install it",
    "check": "would APP start? settings, import, addresses; nothing runs",
}
"""What is done to a running service, instead of serving an app."""
