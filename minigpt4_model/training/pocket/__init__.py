"""The pocket corpus: openly licensed drawings and photographs, named, rendered once, composed into scenes and put into words.

The order of work is the order of the files: `collections` (what is fetched), `names` (what each picture shows), `render`
(pixels, once), `scenes` (training pictures), `captions` (conversations about them), `build` (the command that does it all).
"""
