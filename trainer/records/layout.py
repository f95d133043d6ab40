"""The names of the files and folders of runs and studies."""

SWEEPS = "sweeps"  # below the root: the folder of all studies

LAST, BEST, DESCRIBED = "last.safetensors", "best.safetensors", "best.json"
HITS = "hits.json"  # which validation images the run classified correctly
MANIFEST = "study.json"
RESULT = "result.json"
TRACEBACK = "traceback.txt"  # of an error in an own technique, which is reported in one line
PATCH = "changes.patch"  # what the trainer's checkout had beside its commit
JOB = "job.json"  # in the folder of a study's run: the instructions for its worker
HEARTBEAT = ".heartbeat"  # touched every few seconds by the worker of a launcher
