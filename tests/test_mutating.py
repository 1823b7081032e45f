"""What `make mutants` changes in a module."""

import ast

from benchmarks.mutating import mutants

SOURCE = '''
LEAST = 3

def some(given, known):
    """A docstring stays."""
    if given < LEAST and not known:
        raise ValueError(f"{given} is too few")
    return [each for each in known if each][1:]
'''
CHANGES = [
    (2, "3  ->  4"),
    (6, "given < LEAST and (not known)  ->  not known"),
    (6, "given < LEAST and (not known)  ->  given < LEAST"),
    (6, "given < LEAST  ->  given <= LEAST"),
    (6, "given < LEAST  ->  not given < LEAST"),
    (6, "not known  ->  known"),
    (7, "raise ValueError(f'{given} is too few')  ->  pass"),
    (8, "return [each for each in known if each][1:]  ->  return None"),
    (8, "for each in known if each  ->  for each in known"),
    (8, "1:  ->  :"),
    (8, "1  ->  2"),
]


def test_each_mutant_has_one_change() -> None:
    tree = ast.parse(SOURCE)
    before = ast.unparse(tree)
    made = [*mutants(tree)]
    assert [(mutant.line, mutant.change) for mutant in made] == CHANGES
    assert ast.unparse(tree) == before, "nothing is changed before it is asked for"
    made[0].put()
    assert ast.unparse(tree) == before.replace("3", "4")
