"""What a person or the automation does to the platform: which days to make, what to release, keep, tell and verify.

Nothing here prints or reads arguments (that is `cli`), and no asset is defined here.
"""
