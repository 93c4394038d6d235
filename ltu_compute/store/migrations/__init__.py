"""Schema revisions, applied by `Store.migrate`.

A new revision is a module in `versions` whose `down_revision` is the head before it. A published
revision never changes, and there are no downgrades: the way back is a backup.
"""
