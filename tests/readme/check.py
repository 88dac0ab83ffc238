"""The programs shown in the README and the docs are the ones that are compiled here: check.py PAGE FILE."""
import re
import sys

page, file = sys.argv[1:]
blocks = re.findall(r"```cpp\n(.*?)```", open(page, encoding="utf-8").read(), re.S)
if open(file, encoding="utf-8").read() not in blocks:
    sys.exit(f"{page} does not show {file} word for word")
