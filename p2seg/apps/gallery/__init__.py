"""The page to judge masks on: a folder that opens from the disk, without a server.

`measures` says what a mask looks like and how suspicious it is, `pictures` makes what is seen,
`stages` what came before the mask, `build` writes an image's files, `page` the page around them.
The page itself is in `static`.
"""
