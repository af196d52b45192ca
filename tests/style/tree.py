"""The project's own C files, and C text without comments and strings."""
import os
import re
import sys

SKIP = {'.git', '.stack', 'node_modules', '__pycache__'}


def c_files(root):
    """Every .c and .h of ours, as a path from the root, sorted."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [f for f in folders
                      if f not in SKIP and not f.startswith('build')]
        found += [os.path.relpath(os.path.join(folder, n), root)
                  for n in names if n.endswith(('.c', '.h'))]
    return sorted(found)


def read(root, path):
    with open(os.path.join(root, path), encoding='utf-8') as f:
        return f.read()


TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code_only(text):
    """Blank out comments and literals; line numbers stay as they are."""
    return TOKEN.sub(lambda m: re.sub(r'[^\n]', ' ', m.group()), text)


def is_test(path):
    name = os.path.basename(path)
    return path.startswith(('tests/', 'bench/')) or \
        name.startswith(('test-', 'test.', 'test_', 'fuzz-', 'fuzz_'))


def finish(problems, checked):
    """Print what is wrong and exit 1, or say how much was looked at."""
    for problem in problems:
        print(problem)
    if problems:
        sys.exit(1)
    if checked == 0:
        print('nothing to check: is the root right?')
        sys.exit(1)
    print(f'{checked} files, nothing wrong')
