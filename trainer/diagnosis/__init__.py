"""What may be wrong with a run: what is known of it, the rules, the replay of a failed epoch, the faults they find."""
