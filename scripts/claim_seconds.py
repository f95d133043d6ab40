"""Write into conf/claim/ how long each claim of a finished book took, which `trainer lecture --list` tells beforehand.

python scripts/claim_seconds.py outputs/lecture/quick
"""

import json
import re
import sys
from pathlib import Path

CLAIMS = Path(__file__).resolve().parent.parent / "conf" / "claim"


def main(folder: Path) -> None:
    """Replace the seconds of each claim that was tested with runs, under the budget that names the book's folder."""
    for path in sorted(folder.glob("claims/*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))["result"]
        file = CLAIMS / f"{result['name']}.yaml"
        if result["runs"] and file.is_file():
            text = file.read_text(encoding="utf-8")
            file.write_text(with_seconds(text, folder.name, max(1, round(result["seconds"]))), encoding="utf-8")


def with_seconds(text: str, budget: str, seconds: int) -> str:
    """Return the YAML text of a claim with the seconds of a budget, whose line is `quick: {settings: …, seeds: 5}`."""
    line = re.compile(rf"^(  {budget}: \{{.*?)(?:, seconds: [\d.]+)?\}}$", flags=re.MULTILINE)
    return line.sub(rf"\g<1>, seconds: {seconds}}}", text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
