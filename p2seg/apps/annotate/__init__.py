"""The annotation page: click objects in a browser, see their masks, save after each click.

`clicks` changes the points and `contents` returns them. `store` reads and writes their file, and
`layout` keeps its text. `session` is the state that all tabs share. `album` reads the images and
`preview` makes the masks. `view` is one browser tab with its side panel (`side`) and its canvas
(`browser/`). `server` runs them on a port, and `guard` decides which requests are allowed.
"""
