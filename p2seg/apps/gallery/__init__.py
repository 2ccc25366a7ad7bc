"""The gallery page for reviewing masks: a folder that opens from disk, without a server.

`measures` describes each mask and scores how suspicious it is. `pictures` renders images and
crops. `stages` computes the steps that led to each mask. `build` writes the files of an image, and
`page` writes the files around them. The HTML, JavaScript and CSS are in `static`.
"""
