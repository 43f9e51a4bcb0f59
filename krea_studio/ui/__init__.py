"""The page: the only room that knows Gradio, together with the server's launch code.

`launch` builds and serves, `page` frames, `create`, `history`, `moodboards` and `styles` are its tabs. Controls are
made from the fields of `GenerationRequest` (`controls`), a run's events become page updates in `presenter`, and
everything that is drawn as HTML is made in `fragments`, where text that people typed is escaped. No torch is imported
here.
"""
