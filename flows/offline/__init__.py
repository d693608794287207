"""What is done with stored rollups, apart from the flows.

``history`` reads them, ``backtest`` says which alerts would have fired, ``pictures`` draws. Nothing
here decides anything that a flow decides, too: that is in ``operators`` and ``models``, once.
"""
