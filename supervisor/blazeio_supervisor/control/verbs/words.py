"""The verbs by name, one line each; known before anything of them is loaded.

May import: nothing of ours.
"""

PROGRAM = "blazeio-supervisor"

VERBS = {
    "status": "what runs: workers, their load, a reload under way",
    "reload": "load the code anew; --wait tells whether it worked",
    "scale": "have N workers",
    "recycle": "replace the worker of one slot, with the same code",
    "stop": "answer what is in flight, then end; waits for that",
}
"""What is done to a running service, instead of serving an app."""
