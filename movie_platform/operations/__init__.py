"""What a person does to the platform: the functions behind the command line and, later, the jobs that do the same.

Nothing here prints or reads arguments (that is `cli`), and no asset is defined here.
"""
