"""The forward pass of BERT-shaped classifiers on a CPU: our own, in C, in 8 bits and without padding.

    rows ─► tiles of whole rows ─► a thread for each core takes tile after tile ─► logits, in the rows' order

    lanes.h     sixteen numbers at a time, alike on AVX-512 and AVX2
    product.h   8-bit matrix products, exact
    encoder.c   the network
    library.py  which of the compiled libraries this processor can run
    layout.py   an artefact's weights in 8 bits, laid out as encoder.c reads them
    backend.py  all of it put together

The libraries are compiled when moodstream is installed (hatch_build.py). Where there is none for the machine,
or the network is of another shape, OpenVINO serves.
"""
