"""The data behind stage 2 (paper 3.2): describe pictures, refine and clean the texts, have people check them, export a data set.

The verb `curate` has a sub-verb for each step. A project is a folder: a database that only ever grows (`project.py`) and the pictures.
"""
