"""Work that outlives its request: batches of inspections and background jobs.

``inspection`` compares one shot and gives a verdict by ``limits``; a ``recipe`` holds all that an
inspection needs. ``batch`` runs many with worker processes and writes the results. ``queue`` and
``runner`` compute the jobs that the store keeps.
"""
