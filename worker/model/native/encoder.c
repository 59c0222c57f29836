/* The forward pass of BERT, DistilBERT and RoBERTa classifiers in 8 bits, on one core, without padding.
 *
 * Sequences stand one after the other; whatever works on a token works on the rows of all of them. Every row is
 * computed by itself in one order of additions, so an answer depends on nothing but its text. Of the last layer only
 * the first token's row is computed, which is all that the classifier reads.
 *
 * Weights have 8 bits with a scale for each output. What they are multiplied by is brought to 8 bits row by row,
 * between its least and its largest number: x = least + step * q, q from 0 to 255, so that
 *     sum(w x) = scale * (step * sum(qw q) + least * sum(qw)).
 */

#define _DEFAULT_SOURCE /* For syscall. */

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "lanes.h"
#include "product.h"

#define ALIGNED 64
#define ALWAYS_INLINE __attribute__((always_inline))

enum activation { GELU, GELU_TANH, RELU, TANH };
enum finish { PLAIN, ACTIVATED, RESIDUAL };

/* What follows has the layout of `worker.model.native.layout`. */

struct linear {
    const int8_t *panels; /* [width / 64][depth / 4][64][4] */
    const float *scale;   /* [width] */
    const float *least;   /* [width]: scale * sum of the weights, for a row's least number */
    const float *bias;    /* [width] */
    int64_t depth, width;
};

struct norm {
    const float *weight, *bias;
};

struct layer {
    struct linear qkv, out;
    struct norm attention_norm;
    struct linear up, down;
    struct norm output_norm;
};

struct model {
    int64_t width, inner, heads, layers, outputs, most; /* most: tokens of a tile, no fewer than of a sequence */
    int64_t activation, squash;
    float eps;
    const uint16_t *words;  /* [vocabulary][width], half precision */
    const float *positions; /* [max_length][width], token type 0 included */
    struct norm embedding_norm;
    const struct layer *layer;
    const float *dense, *dense_bias; /* [width in][width out] */
    const float *final, *final_bias; /* [width][16], the outputs first */
};

struct job {
    const int32_t *ids;    /* of all sequences */
    const int64_t *starts; /* [sequences + 1], into ids */
    const int64_t *tiles;  /* [count + 1], into starts: whole sequences, at most `most` tokens */
    int64_t count;
    float *logits; /* [sequences][outputs] */
    _Atomic int64_t next;
};

struct workspace {
    char *all;                       /* What the others lie in. */
    uint8_t *bytes;                  /* [most][width] */
    uint8_t *inner_bytes;            /* [INNER_ROWS][inner] */
    float *step, *least;             /* [most] */
    float *inner_step, *inner_least; /* [INNER_ROWS] */
    float *x, *context;              /* [most][width] */
    float *qkv;                      /* [most + LANES][3 * width] */
    float *inner;                    /* [INNER_ROWS][inner] */
    float *keys;                     /* [head width][most up to whole lanes] */
    float *scores;                   /* [QUERIES_AT_ONCE][most up to whole lanes] */
};

static int64_t up_to_lanes(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

static void *take(char *at, int64_t *used, int64_t bytes) {
    void *taken = at ? at + *used : 0;
    *used += (bytes + ALIGNED - 1) / ALIGNED * ALIGNED;
    return taken;
}

/* Lay the arrays out from `at`, or only count them where it is null; the bytes that they take. */
static int64_t lay_out(const struct model *model, struct workspace *into, char *at) {
    int64_t rows = model->most, width = model->width, inner = model->inner;
    int64_t read = (rows + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE * ROWS_AT_ONCE;
    int64_t longest = up_to_lanes(rows), single = sizeof(float), used = 0;
    into->bytes = take(at, &used, read * width);
    into->inner_bytes = take(at, &used, INNER_ROWS * inner);
    into->step = take(at, &used, rows * single);
    into->least = take(at, &used, rows * single);
    into->inner_step = take(at, &used, INNER_ROWS * single);
    into->inner_least = take(at, &used, INNER_ROWS * single);
    into->x = take(at, &used, rows * width * single);
    into->context = take(at, &used, rows * width * single);
    into->qkv = take(at, &used, 3 * (rows + LANES) * width * single);
    into->inner = take(at, &used, INNER_ROWS * inner * single);
    into->keys = take(at, &used, width / model->heads * longest * single);
    into->scores = take(at, &used, QUERIES_AT_ONCE * longest * single);
    return used;
}

static lanes polynomial(const float *coefficients, int count, lanes x) {
    lanes y = all(coefficients[count - 1]);
    for (int i = count - 2; i >= 0; i--) y = fused(y, x, all(coefficients[i]));
    return y;
}

/* e^x to 3e-6 of itself, of x no larger than 88; below -87 it is e^-87. As Cephes' expf (Moshier), with fewer terms. */
static inline lanes exponential(lanes x) {
    static const float series[] = {0.49999231f, 0.16667115f, 0.041890238f, 0.0083125027f};
    x = larger(x, all(-87.0f));
    lanes n = whole(mul(x, all(1.44269504088896341f)));
    lanes rest = fused(n, all(-0.693147180559945f), x);
    lanes y = fused(polynomial(series, 4, rest), mul(rest, rest), add(rest, all(1.0f)));
    return times_power_of_two(y, n);
}

static inline lanes tangent(lanes x) {
    lanes e = exponential(mul(smaller(larger(x, all(-10.0f)), all(10.0f)), all(2.0f)));
    return sub(all(1.0f), quotient(all(2.0f), add(e, all(1.0f))));
}

/* x * Phi(x), at most 6e-5 off, which is little beside a step of 8 bits. Up to 4.2 Phi - 1/2 is an odd polynomial, fitted
 * by least squares, reweighted until the largest error is least (3e-6); beyond, Phi is taken as what it is there. */
static inline lanes gelu(lanes x) {
    static const float fitted[] = {0.16785726f, -0.08150114f, 0.055772007f, -0.038673416f, 0.025248313f,
                                   -0.014780973f, 0.0076714777f, -0.004236102f, 0.0024321089f, -0.00074522867f};
    lanes t = smaller(larger(x, all(-4.2f)), all(4.2f));
    lanes u = fused(mul(t, t), all(2.0f / (4.2f * 4.2f)), all(-1.0f));
    return mul(x, fused(t, polynomial(fitted, 10, u), all(0.5f)));
}

static inline lanes activated(enum activation activation, lanes x) {
    switch (activation) {
    case GELU:
        return gelu(x);
    case GELU_TANH: {
        lanes inside = mul(x, fused(mul(x, x), all(0.0356774081f), all(0.7978845608f)));
        return mul(mul(x, all(0.5f)), add(all(1.0f), tangent(inside)));
    }
    case TANH:
        return tangent(x);
    default:
        return larger(x, all(0.0f));
    }
}

/* Here and below: four registers at a time, so that one step need not wait for the last; widths are multiples of 64. */
static void to_bytes(const float *x, int64_t width, uint8_t *bytes, float *step, float *least) {
    lanes low[4], high[4];
    for (int j = 0; j < 4; j++) low[j] = high[j] = load(x + LANES * j);
    for (int64_t i = 4 * LANES; i < width; i += 4 * LANES)
        for (int j = 0; j < 4; j++) {
            low[j] = smaller(low[j], load(x + i + LANES * j));
            high[j] = larger(high[j], load(x + i + LANES * j));
        }
    *least = smallest(smaller(smaller(low[0], low[1]), smaller(low[2], low[3])));
    float range = largest(larger(larger(high[0], high[1]), larger(high[2], high[3]))) - *least;
    *step = range / 255.0f;
    float per_unit = range > 0 ? 255.0f / range : 0.0f;
    lanes by = all(per_unit), zero = all(-*least * per_unit), steps[4];
    for (int64_t i = 0; i < width; i += 4 * LANES) {
        for (int j = 0; j < 4; j++) steps[j] = fused(load(x + i + LANES * j), by, zero);
        store_bytes(bytes + i, steps[0], steps[1], steps[2], steps[3]);
    }
}

static inline float sum_of_four(const lanes *x) { return sum(add(add(x[0], x[1]), add(x[2], x[3]))); }

static void normalise(float *x, int64_t width, struct norm norm, float eps) {
    lanes totals[4], squares[4];
    for (int j = 0; j < 4; j++) totals[j] = squares[j] = all(0.0f);
    for (int64_t i = 0; i < width; i += 4 * LANES)
        for (int j = 0; j < 4; j++) totals[j] = add(totals[j], load(x + i + LANES * j));
    float mean = sum_of_four(totals) / (float)width;
    for (int64_t i = 0; i < width; i += 4 * LANES)
        for (int j = 0; j < 4; j++) {
            lanes away = sub(load(x + i + LANES * j), all(mean));
            squares[j] = fused(away, away, squares[j]);
        }
    float spread = sum_of_four(squares) / (float)width + eps;
    float scale = 1.0f / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(spread)));
    lanes by = all(scale), zero = all(-mean * scale);
    for (int64_t i = 0; i < width; i += LANES)
        store(x + i, fused(fused(load(x + i), by, zero), load(norm.weight + i), load(norm.bias + i)));
}

struct rows {
    const uint8_t *bytes;
    const float *step, *least;
    int64_t count;
};

/* What becomes of `count` rows of sums of a panel: to[row][i], i from 0 to 63. */
static inline ALWAYS_INLINE void finished(const int32_t *sums, struct rows rows, int64_t row, int64_t count,
                                          const struct linear *by, int64_t column, float *to, int64_t stride,
                                          enum finish finish, enum activation activation) {
    for (int64_t m = 0; m < count; m++, sums += PANEL, to += stride) {
        lanes step = all(rows.step[row + m]), least = all(rows.least[row + m]);
        for (int64_t i = 0; i < PANEL; i += LANES) {
            int64_t at = column + i;
            lanes y = fused(load(by->least + at), least, load(by->bias + at));
            y = fused(mul(from_int(sums + i), load(by->scale + at)), step, y);
            if (finish == ACTIVATED) y = activated(activation, y);
            if (finish == RESIDUAL) y = add(y, load(to + i));
            store(to + i, y);
        }
    }
}

/* out[row][column - from] for columns `from` to `to` (multiples of 64). */
static inline ALWAYS_INLINE void linear(struct rows rows, const struct linear *by, int64_t from, int64_t to,
                                        float *out, int64_t stride, enum finish finish,
                                        enum activation activation) {
    int32_t sums[ROWS_AT_ONCE * PANEL] __attribute__((aligned(ALIGNED)));
    for (int64_t column = from; column < to; column += PANEL) {
        const int8_t *panel = by->panels + column * by->depth;
        for (int64_t row = 0; row < rows.count; row += ROWS_AT_ONCE) {
            int64_t n = rows.count - row < ROWS_AT_ONCE ? rows.count - row : ROWS_AT_ONCE;
            product(rows.bytes + row * by->depth, n, by->depth, panel, sums);
            finished(sums, rows, row, n, by, column, out + row * stride + column - from, stride, finish, activation);
        }
    }
}

static void plain(struct rows rows, const struct linear *by, int64_t from, int64_t to, float *out, int64_t stride) {
    linear(rows, by, from, to, out, stride, PLAIN, RELU);
}

/* Added to what `out` holds. */
static void residual(struct rows rows, const struct linear *by, float *out) {
    linear(rows, by, 0, by->width, out, by->width, RESIDUAL, RELU);
}

/* Each activation with a loop of its own, which then asks no more which it is. */
static void through(enum activation activation, struct rows rows, const struct linear *by, float *out) {
    switch (activation) {
    case GELU:
        return linear(rows, by, 0, by->width, out, by->width, ACTIVATED, GELU);
    case GELU_TANH:
        return linear(rows, by, 0, by->width, out, by->width, ACTIVATED, GELU_TANH);
    case RELU:
        return linear(rows, by, 0, by->width, out, by->width, ACTIVATED, RELU);
    case TANH:
        return linear(rows, by, 0, by->width, out, by->width, ACTIVATED, TANH);
    }
}

/* What a score may be at most, and what a weight is multiplied by: of 16 tokens, then of what stands for none. Where a
 * register has `n` tokens they are loaded from 16 - n. */
#define SIXTEEN(x) x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x
static const float MOST_SCORE[2 * LANES] = {SIXTEEN(INFINITY), SIXTEEN(-1e30f)};
static const float IS_TOKEN[2 * LANES] = {SIXTEEN(1.0f)};

static inline lanes tail_of(const float *of, int64_t tokens) { return load(of + up_to_lanes(tokens) - tokens); }

/* Softmax of `count` rows of scores, in place; beyond the tokens they become 0. */
static inline ALWAYS_INLINE void softmax(float *scores, int64_t count, int64_t tokens) {
    int64_t padded = up_to_lanes(tokens), last = padded - LANES;
    lanes is_token = tail_of(IS_TOKEN, tokens), shares[QUERIES_AT_ONCE];
    for (int64_t n = 0; n < count; n++) {
        float *row = scores + n * padded;
        lanes high = load(row), total = all(0.0f);
        for (int64_t i = LANES; i < padded; i += LANES) high = larger(high, load(row + i));
        lanes top = all(largest(high));
        for (int64_t i = 0; i < padded; i += LANES) {
            lanes weight = exponential(sub(load(row + i), top));
            if (i == last) weight = mul(weight, is_token);
            store(row + i, weight);
            total = add(total, weight);
        }
        shares[n] = all(1.0f / sum(total));
    }
    for (int64_t n = 0; n < count; n++)
        for (int64_t i = 0; i < padded; i += LANES)
            store(scores + n * padded + i, mul(load(scores + n * padded + i), shares[n]));
}

/* One head of some rows of one sequence: weighted means of its values, the weights softmax(query keys / sqrt(D)).
 * `at_once`, a constant, is no less than `queries`: what follows these is read too, and its answers left. */
static inline ALWAYS_INLINE void attend(const int64_t at_once, const float *query, int64_t queries, int64_t stride,
                                        const float *keys, const float *values, int64_t tokens, int64_t depth,
                                        float scale, float *scores, float *out, int64_t out_stride) {
    int64_t padded = up_to_lanes(tokens);
    lanes some[QUERIES_AT_ONCE];
    for (int64_t block = 0; block < padded; block += LANES) {
        for (int64_t n = 0; n < at_once; n++) some[n] = all(0.0f);
        for (int64_t d = 0; d < depth; d++) {
            lanes key = load(keys + d * padded + block);
            for (int64_t n = 0; n < at_once; n++) some[n] = fused(all(query[n * stride + d]), key, some[n]);
        }
        lanes most = block + LANES < padded ? all(INFINITY) : tail_of(MOST_SCORE, tokens);
        for (int64_t n = 0; n < at_once; n++)
            store(scores + n * padded + block, smaller(mul(some[n], all(scale)), most));
    }
    softmax(scores, queries, tokens);
    for (int64_t d = 0; d < depth; d += LANES) {
        for (int64_t n = 0; n < at_once; n++) some[n] = all(0.0f);
        for (int64_t i = 0; i < tokens; i++) {
            lanes value = load(values + i * stride + d);
            for (int64_t n = 0; n < at_once; n++) some[n] = fused(all(scores[n * padded + i]), value, some[n]);
        }
        for (int64_t n = 0; n < queries; n++) store(out + n * out_stride + d, some[n]);
    }
}

/* All heads of one sequence; only its first `queries` rows ask. What follows its keys is read with them, up to whole
 * registers, and comes to nothing. */
static void attention(const struct model *model, struct workspace *space, const float *query,
                      const float *keys_values, int64_t tokens, int64_t queries, float *out) {
    int64_t width = model->width, depth = width / model->heads, padded = up_to_lanes(tokens), stride = 3 * width;
    float scale = 1.0f / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss((float)depth)));
    for (int64_t head = 0; head < width; head += depth) {
        const float *keys = keys_values + width + head, *values = keys_values + 2 * width + head;
        for (int64_t i = 0; i < padded; i += LANES)
            for (int64_t d = 0; d < depth; d += LANES)
                turn_over(keys + i * stride + d, stride, space->keys + d * padded + i, padded);
        for (int64_t first = 0; first < queries; first += QUERIES_AT_ONCE) {
            int64_t left = queries - first, n = left < QUERIES_AT_ONCE ? left : QUERIES_AT_ONCE;
            const float *asking = query + first * stride + head;
            float *to = out + first * width + head;
#define ATTEND(at_once) \
    attend(at_once, asking, n, stride, space->keys, values, tokens, depth, scale, space->scores, to, width)
            if (n == 1)
                ATTEND(1);
            else if (n <= QUERIES_AT_ONCE / 2)
                ATTEND(QUERIES_AT_ONCE / 2);
            else
                ATTEND(QUERIES_AT_ONCE);
        }
    }
}

static struct rows as_bytes(struct workspace *space, const float *x, int64_t count, int64_t width) {
    for (int64_t row = 0; row < count; row++)
        to_bytes(x + row * width, width, space->bytes + row * width, space->step + row, space->least + row);
    return (struct rows){space->bytes, space->step, space->least, count};
}

/* x = norm(x + out(context)), then x = norm(x + down(activation(up(x)))), for `count` rows. */
static void rest_of_layer(const struct model *model, const struct layer *layer, struct workspace *space, float *x,
                          const float *context, int64_t count) {
    int64_t width = model->width, inner = model->inner;
    residual(as_bytes(space, context, count, width), &layer->out, x);
    for (int64_t row = 0; row < count; row++)
        normalise(x + row * width, width, layer->attention_norm, model->eps);
    for (int64_t first = 0; first < count; first += INNER_ROWS) {
        int64_t n = count - first < INNER_ROWS ? count - first : INNER_ROWS;
        float *part = x + first * width;
        through(model->activation, as_bytes(space, part, n, width), &layer->up, space->inner);
        for (int64_t row = 0; row < n; row++)
            to_bytes(space->inner + row * inner, inner, space->inner_bytes + row * inner, space->inner_step + row,
                     space->inner_least + row);
        struct rows rows = {space->inner_bytes, space->inner_step, space->inner_least, n};
        residual(rows, &layer->down, part);
        for (int64_t row = 0; row < n; row++) normalise(part + row * width, width, layer->output_norm, model->eps);
    }
}

static void embed(const struct model *model, const int32_t *ids, int64_t tokens, float *x) {
    int64_t width = model->width;
    for (int64_t token = 0; token < tokens; token++, x += width) {
        const uint16_t *word = model->words + ids[token] * width;
        const float *position = model->positions + token * width;
        for (int64_t i = 0; i < width; i += LANES) store(x + i, add(from_halves(word + i), load(position + i)));
        normalise(x, width, model->embedding_norm, model->eps);
    }
}

static void classify(const struct model *model, const float *x, float *squashed, float *logits) {
    int64_t width = model->width;
    for (int64_t column = 0; column < width; column += PANEL) {
        lanes y[PANEL / LANES];
        for (int i = 0; i < PANEL / LANES; i++) y[i] = load(model->dense_bias + column + LANES * i);
        for (int64_t k = 0; k < width; k++)
            for (int i = 0; i < PANEL / LANES; i++)
                y[i] = fused(all(x[k]), load(model->dense + k * width + column + LANES * i), y[i]);
        for (int i = 0; i < PANEL / LANES; i++)
            store(squashed + column + LANES * i, activated(model->squash, y[i]));
    }
    float padded[LANES];
    lanes y = load(model->final_bias);
    for (int64_t k = 0; k < width; k++) y = fused(all(squashed[k]), load(model->final + k * LANES), y);
    store(padded, y);
    memcpy(logits, padded, model->outputs * sizeof(float));
}

/* The sequences `first` to `end` of a job, which are a tile. */
static void tile(const struct model *model, struct workspace *space, const struct job *job, int64_t first,
                 int64_t end) {
    int64_t width = model->width, base = job->starts[first], tokens = job->starts[end] - base;
    for (int64_t i = first; i < end; i++)
        embed(model, job->ids + job->starts[i], job->starts[i + 1] - job->starts[i],
              space->x + (job->starts[i] - base) * width);
    for (int64_t number = 0; number < model->layers; number++) {
        const struct layer *layer = &model->layer[number];
        int64_t last = number == model->layers - 1;
        struct rows rows = as_bytes(space, space->x, tokens, width);
        /* Queries of the last layer are of first tokens alone, which then stand where those of all would. */
        plain(rows, &layer->qkv, last ? width : 0, 3 * width, space->qkv + (last ? width : 0), 3 * width);
        for (int64_t i = first; last && i < end; i++) {
            int64_t row = job->starts[i] - base;
            struct rows one = {rows.bytes + row * width, rows.step + row, rows.least + row, 1};
            plain(one, &layer->qkv, 0, width, space->qkv + row * 3 * width, 3 * width);
            memmove(space->x + (i - first) * width, space->x + row * width, width * sizeof(float));
        }
        for (int64_t i = first; i < end; i++) {
            int64_t row = job->starts[i] - base, n = job->starts[i + 1] - job->starts[i];
            const float *of_sequence = space->qkv + row * 3 * width;
            attention(model, space, of_sequence, of_sequence, n, last ? 1 : n,
                      space->context + (last ? i - first : row) * width);
        }
        rest_of_layer(model, layer, space, space->x, space->context, last ? end - first : tokens);
    }
    for (int64_t i = first; i < end; i++)
        classify(model, space->x + (i - first) * width, space->context, job->logits + i * model->outputs);
}

/* Whether this process may run what this library is compiled to; ask before anything else of it. */
int moodstream_allowed(void) { return allowed(); }

/* A core's own memory for this model; null where there is none left. */
void *moodstream_open(const struct model *model) {
    struct workspace *space = calloc(1, sizeof *space);
    if (!space) return 0;
    space->all = aligned_alloc(ALIGNED, lay_out(model, space, 0));
    if (!space->all) {
        free(space);
        return 0;
    }
    memset(space->all, 0, lay_out(model, space, space->all));
    return space;
}

void moodstream_close(void *space) {
    free(((struct workspace *)space)->all);
    free(space);
}

/* Take tiles of the job until none is left; as many threads as have a workspace may do so at once. */
void moodstream_run(const struct model *model, void *space, struct job *job) {
    begin_products();
    for (int64_t i; (i = atomic_fetch_add(&job->next, 1)) < job->count;)
        tile(model, space, job, job->tiles[i], job->tiles[i + 1]);
    end_products();
}
