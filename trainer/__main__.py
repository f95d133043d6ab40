"""The entry of `python -m trainer …`."""

from trainer.cli.main import console_script

if __name__ == "__main__":
    console_script()
