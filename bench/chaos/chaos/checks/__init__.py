"""What a history must satisfy. Each check gives a list of violations, in words."""

from . import availability, durability, lists, reads, single_writer

ALL = {"single writer": single_writer.check, "durability": durability.check, "serializability": lists.check,
       "monotonic reads": reads.check, "availability": availability.check}


def check(history):
    return {name: one(history) for name, one in ALL.items()}
