"""The diagnosis of a run: statistics of its layers, rules that find faults, the replay of a failed epoch."""
