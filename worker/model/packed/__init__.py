"""BERT-shaped classifiers without padding, as fast as a GPU allows.

Rows of different lengths lie end to end in one sequence of tokens ("packed"), so that no work is spent on
padding and nothing need be sorted:

    row 0          row 1   row 2                padding up to the bucket
    [CLS] a b [SEP][CLS] c [SEP][CLS] d e f [SEP] 0 0 0 0

    rows ─► plan ─► fill ─► upload ─► encoder ─► download ─► logits, in the order of the rows
            chunks  pinned  stream    one CUDA   stream
                    buffer            graph a bucket

    config.py    config.json: which networks this forward knows
    weights.py   model.safetensors: tensors by family, fused
    layout.py    rows cut into chunks, chunks into buckets, buckets into one buffer of integers
    encoder.py   the network itself
    plain.py     its parts in plain PyTorch: on the CPU, and what the others are checked against
    kernels.py   the same parts as Triton kernels; varlen.py: attention by PyTorch's own kernel
    choose.py    which parts this machine can run and runs fastest
    flow.py      several chunks in flight, answers in order
    cpu.py, cuda.py   where a chunk is computed
    load.py      all of it put together

On the CPU all but the kernels, streams and graphs is the very same code, in float32.
"""
