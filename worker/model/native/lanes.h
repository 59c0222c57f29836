/* Sixteen numbers in single precision at a time, the same on every machine: one register of AVX-512 or two of AVX2.
 *
 * Both round alike (every multiply-add is fused, nothing else is), so that a post gets the same logits, to the bit,
 * wherever it is labelled. */

#ifndef MOODSTREAM_LANES_H
#define MOODSTREAM_LANES_H

#include <immintrin.h>
#include <stdint.h>

#define LANES 16

#ifdef __AVX512F__

typedef __m512 lanes;

static inline lanes all(float x) { return _mm512_set1_ps(x); }
static inline lanes load(const float *from) { return _mm512_loadu_ps(from); }
static inline void store(float *to, lanes x) { _mm512_storeu_ps(to, x); }
static inline lanes add(lanes a, lanes b) { return _mm512_add_ps(a, b); }
static inline lanes sub(lanes a, lanes b) { return _mm512_sub_ps(a, b); }
static inline lanes mul(lanes a, lanes b) { return _mm512_mul_ps(a, b); }
static inline lanes quotient(lanes a, lanes b) { return _mm512_div_ps(a, b); }
static inline lanes fused(lanes a, lanes b, lanes c) { return _mm512_fmadd_ps(a, b, c); }
static inline lanes larger(lanes a, lanes b) { return _mm512_max_ps(a, b); }
static inline lanes smaller(lanes a, lanes b) { return _mm512_min_ps(a, b); }
static inline lanes whole(lanes x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
/* y * 2^n of whole numbers n from -126 to 127. */
static inline lanes times_power_of_two(lanes y, lanes n) { return _mm512_scalef_ps(y, n); }
static inline lanes from_halves(const uint16_t *from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from));
}
static inline lanes from_int(const int32_t *from) { return _mm512_cvtepi32_ps(_mm512_loadu_si512(from)); }
/* 64 bytes, rounded to nearest; beyond 0 and 255 it is these. */
static inline void store_bytes(uint8_t *to, lanes a, lanes b, lanes c, lanes d) {
    __m512i ab = _mm512_packs_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b));
    __m512i cd = _mm512_packs_epi32(_mm512_cvtps_epi32(c), _mm512_cvtps_epi32(d));
    /* Four of each, then the next four of each. */
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_storeu_si512(to, _mm512_permutexvar_epi32(order, _mm512_packus_epi16(ab, cd)));
}
/* to[column][row] = from[row][column] of 16 rows and columns: pairs, fours, eights and sixteens change places. */
static inline void turn_over(const float *from, int64_t stride, float *to, int64_t to_stride) {
    __m512 a[LANES], b[LANES];
    for (int i = 0; i < LANES; i++) a[i] = load(from + i * stride);
    for (int i = 0; i < LANES; i += 2) {
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < LANES; i += 4)
        for (int j = 0; j < 2; j++) {
            __m512d low = _mm512_castps_pd(b[i + j]), high = _mm512_castps_pd(b[i + j + 2]);
            a[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
            a[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
        }
    for (int i = 0; i < LANES; i += 8)
        for (int j = 0; j < 4; j++) {
            b[i + j] = _mm512_shuffle_f32x4(a[i + j], a[i + j + 4], 0x88);
            b[i + j + 4] = _mm512_shuffle_f32x4(a[i + j], a[i + j + 4], 0xdd);
        }
    for (int j = 0; j < 8; j++) {
        store(to + j * to_stride, _mm512_shuffle_f32x4(b[j], b[j + 8], 0x88));
        store(to + (j + 8) * to_stride, _mm512_shuffle_f32x4(b[j], b[j + 8], 0xdd));
    }
}
#define QUERIES_AT_ONCE 8 /* As many sums as keep both units busy while each waits for its last addition. */
static inline __m256 low(lanes x) { return _mm512_castps512_ps256(x); }
static inline __m256 high(lanes x) { return _mm512_extractf32x8_ps(x, 1); }

#else

typedef struct { __m256 a, b; } lanes;

#define BOTH(f, x, y) ((lanes){f((x).a, (y).a), f((x).b, (y).b)})
static inline lanes all(float x) { return (lanes){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline lanes load(const float *from) { return (lanes){_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
static inline void store(float *to, lanes x) { _mm256_storeu_ps(to, x.a); _mm256_storeu_ps(to + 8, x.b); }
static inline lanes add(lanes x, lanes y) { return BOTH(_mm256_add_ps, x, y); }
static inline lanes sub(lanes x, lanes y) { return BOTH(_mm256_sub_ps, x, y); }
static inline lanes mul(lanes x, lanes y) { return BOTH(_mm256_mul_ps, x, y); }
static inline lanes quotient(lanes x, lanes y) { return BOTH(_mm256_div_ps, x, y); }
static inline lanes fused(lanes x, lanes y, lanes z) {
    return (lanes){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
static inline lanes larger(lanes x, lanes y) { return BOTH(_mm256_max_ps, x, y); }
static inline lanes smaller(lanes x, lanes y) { return BOTH(_mm256_min_ps, x, y); }
#define NEAREST(x) _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
static inline lanes whole(lanes x) { return (lanes){NEAREST(x.a), NEAREST(x.b)}; }
static inline __m256 power_of_two_8(__m256 n) {
    __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}
static inline lanes times_power_of_two(lanes y, lanes n) {
    return mul(y, (lanes){power_of_two_8(n.a), power_of_two_8(n.b)});
}
static inline lanes from_halves(const uint16_t *from) {
    const __m128i *halves = (const __m128i *)from;
    return (lanes){_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
}
static inline lanes from_int(const int32_t *from) {
    const __m256i *ints = (const __m256i *)from;
    return (lanes){_mm256_cvtepi32_ps(_mm256_loadu_si256(ints)), _mm256_cvtepi32_ps(_mm256_loadu_si256(ints + 1))};
}
static inline void store_16_bytes(uint8_t *to, lanes x) {
    __m256i words = _mm256_packus_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)); /* 0-3 8-11 4-7 12-15 */
    words = _mm256_permute4x64_epi64(words, _MM_SHUFFLE(3, 1, 2, 0));
    _mm_storeu_si128((__m128i *)to, _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}
static inline void store_bytes(uint8_t *to, lanes a, lanes b, lanes c, lanes d) {
    store_16_bytes(to, a);
    store_16_bytes(to + 16, b);
    store_16_bytes(to + 32, c);
    store_16_bytes(to + 48, d);
}
static inline void turn_over(const float *from, int64_t stride, float *to, int64_t to_stride) {
    for (int row = 0; row < LANES; row++)
        for (int column = 0; column < LANES; column++) to[column * to_stride + row] = from[row * stride + column];
}
#define QUERIES_AT_ONCE 4
static inline __m256 low(lanes x) { return x.a; }
static inline __m256 high(lanes x) { return x.b; }

#endif

#define FOLDED(name, eight, four, one)                                              \
    static inline float name(lanes x) {                                             \
        __m256 y = eight(low(x), high(x));                                          \
        __m128 z = four(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));    \
        z = four(z, _mm_movehl_ps(z, z));                                           \
        return _mm_cvtss_f32(one(z, _mm_shuffle_ps(z, z, 1)));                      \
    }
FOLDED(sum, _mm256_add_ps, _mm_add_ps, _mm_add_ss)
FOLDED(largest, _mm256_max_ps, _mm_max_ps, _mm_max_ss)
FOLDED(smallest, _mm256_min_ps, _mm_min_ps, _mm_min_ss)

#endif
