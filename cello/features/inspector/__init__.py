"""`/_cello`: one page about an application in debug mode: its routes and plans, workers, pools, tasks and errors.

switch      when it is there, and what it answers
access      who may see it
facts       what it says, as plain data
workers     which processes serve the application
page        the same as HTML
"""
