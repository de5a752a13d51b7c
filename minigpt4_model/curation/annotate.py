"""placeholder"""


def add_arguments(p):
    pass


def check_arguments(p, a):
    pass
