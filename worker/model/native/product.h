/* Bytes (rows, depth) times 8-bit weights: exact sums in 32 bits, whichever instructions compute them.
 *
 * Weights are packed in panels of 64 columns: panel[depth / 4][64][4], so that one register holds four weights of
 * each of 16 columns. */

#ifndef MOODSTREAM_PRODUCT_H
#define MOODSTREAM_PRODUCT_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define PANEL 64

/* Below: `product` of at most ROWS_AT_ONCE rows; INNER_ROWS is how many of the widest product it is best to have at a
 * time, so that what they give stays in the second cache and weights are not read too often (a multiple of it). */

#ifdef __AVX512VNNI__

#define FEW_ROWS 6

#ifdef __clang__
#define ADD(total, row, weights) total = _mm512_dpbusd_epi32(total, row, weights)
#else
/* The same, but GCC 12 copies the sums from register to register around the intrinsic, and keeps an array of them in
 * memory, hence the names below: 2.6 times as slow. */
#define ADD(total, row, weights) __asm__("vpdpbusd %2, %1, %0" : "+v"(total) : "v"(row), "v"(weights))
#endif

#define BEGIN_ROW(m) __m512i t##m##0 = zero, t##m##1 = zero, t##m##2 = zero, t##m##3 = zero;
#define ADD_ROW(m)                                                    \
    memcpy(&four, rows + m * depth + k, 4);                           \
    row = _mm512_set1_epi32(four);                                    \
    ADD(t##m##0, row, w0);                                            \
    ADD(t##m##1, row, w1);                                            \
    ADD(t##m##2, row, w2);                                            \
    ADD(t##m##3, row, w3);
#define END_ROW(m)                                                    \
    _mm512_storeu_si512(sums + m * PANEL, t##m##0);                   \
    _mm512_storeu_si512(sums + m * PANEL + 16, t##m##1);              \
    _mm512_storeu_si512(sums + m * PANEL + 32, t##m##2);              \
    _mm512_storeu_si512(sums + m * PANEL + 48, t##m##3);

#define EACH_1(of) of(0)
#define EACH_2(of) EACH_1(of) of(1)
#define EACH_3(of) EACH_2(of) of(2)
#define EACH_4(of) EACH_3(of) of(3)
#define EACH_5(of) EACH_4(of) of(4)
#define EACH_6(of) EACH_5(of) of(5)

/* Up to six rows: 24 sums, 4 weights and a row's own four bytes fill 29 of the 32 registers. */
#define PRODUCT(ROWS)                                                                                 \
    static void product_##ROWS(const uint8_t *rows, long depth, const int8_t *panel, int32_t *sums) { \
        const __m512i zero = _mm512_setzero_si512();                                                  \
        EACH_##ROWS(BEGIN_ROW)                                                                        \
        for (long k = 0; k < depth; k += 4, panel += 4 * PANEL) {                                     \
            __m512i w0 = _mm512_loadu_si512(panel), w1 = _mm512_loadu_si512(panel + 64);              \
            __m512i w2 = _mm512_loadu_si512(panel + 128), w3 = _mm512_loadu_si512(panel + 192), row;  \
            int32_t four;                                                                             \
            EACH_##ROWS(ADD_ROW)                                                                      \
        }                                                                                             \
        EACH_##ROWS(END_ROW)                                                                          \
    }
PRODUCT(1)
PRODUCT(2)
PRODUCT(3)
PRODUCT(4)
PRODUCT(5)
PRODUCT(6)

typedef void (*product_of)(const uint8_t *, long, const int8_t *, int32_t *);
static const product_of PRODUCTS[FEW_ROWS + 1] = {0, product_1, product_2, product_3, product_4, product_5, product_6};

#else

#define FEW_ROWS 4

/* Without instructions for 8 bits: both factors widened to 16, whose products of pairs are exact in 32. */
#define PRODUCT(ROWS)                                                                                      \
    static void product_##ROWS(const uint8_t *rows, long depth, const int8_t *panel, int32_t *sums) {      \
        for (int j = 0; j < PANEL; j += 8) {                                                               \
            __m256i total[ROWS][2];                                                                        \
            for (int m = 0; m < ROWS; m++) total[m][0] = total[m][1] = _mm256_setzero_si256();             \
            const int8_t *weights = panel + 4 * j;                                                         \
            for (long k = 0; k < depth; k += 4, weights += 4 * PANEL) {                                    \
                __m256i first = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)weights));           \
                __m256i second = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(weights + 16)));   \
                for (int m = 0; m < ROWS; m++) {                                                           \
                    int32_t four;                                                                          \
                    memcpy(&four, rows + m * depth + k, 4);                                                \
                    __m256i row = _mm256_broadcastq_epi64(_mm_cvtepu8_epi16(_mm_cvtsi32_si128(four)));     \
                    total[m][0] = _mm256_add_epi32(total[m][0], _mm256_madd_epi16(row, first));            \
                    total[m][1] = _mm256_add_epi32(total[m][1], _mm256_madd_epi16(row, second));           \
                }                                                                                          \
            }                                                                                              \
            for (int m = 0; m < ROWS; m++) {                                                               \
                __m256i pairs = _mm256_hadd_epi32(total[m][0], total[m][1]); /* columns 0 1 4 5 2 3 6 7 */ \
                pairs = _mm256_permute4x64_epi64(pairs, _MM_SHUFFLE(3, 1, 2, 0));                          \
                _mm256_storeu_si256((__m256i *)(sums + m * PANEL + j), pairs);                             \
            }                                                                                              \
        }                                                                                                  \
    }
PRODUCT(1)
PRODUCT(2)
PRODUCT(3)
PRODUCT(4)

typedef void (*product_of)(const uint8_t *, long, const int8_t *, int32_t *);
static const product_of PRODUCTS[FEW_ROWS + 1] = {0, product_1, product_2, product_3, product_4};

#endif

#ifdef __AMX_INT8__

#include <sys/syscall.h>
#include <unistd.h>

/* Sixteen rows of 64 bytes are a tile of AMX, and so are 64 inputs of 16 columns of a panel. Reads up to 31 rows
 * more than asked, and computes what nobody reads. Depth is a multiple of 64. */
#define ROWS_AT_ONCE 32
#define INNER_ROWS 128
#define TILE 16

static inline void zero_sums(void) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

static inline void product(const uint8_t *rows, long count, long depth, const int8_t *panel, int32_t *sums) {
    if (count <= FEW_ROWS) {
        PRODUCTS[count](rows, depth, panel, sums);
        return;
    }
    __asm__ volatile("" ::: "memory"); /* GCC does not know that loading a tile reads memory. */
    if (count <= TILE) {
        zero_sums();
        for (long k = 0; k < depth; k += 64, panel += 64 * PANEL) {
            _tile_loadd(4, rows + k, depth);
            _tile_loadd(5, panel, 4 * PANEL);
            _tile_dpbusd(0, 4, 5);
            _tile_loadd(6, panel + 64, 4 * PANEL);
            _tile_dpbusd(1, 4, 6);
            _tile_loadd(7, panel + 128, 4 * PANEL);
            _tile_dpbusd(2, 4, 7);
            _tile_loadd(5, panel + 192, 4 * PANEL);
            _tile_dpbusd(3, 4, 5);
        }
        _tile_stored(0, sums, 4 * PANEL);
        _tile_stored(1, sums + 16, 4 * PANEL);
        _tile_stored(2, sums + 32, 4 * PANEL);
        _tile_stored(3, sums + 48, 4 * PANEL);
    } else {
        for (int half = 0; half < PANEL; half += PANEL / 2) {
            const int8_t *weights = panel + 4 * half;
            zero_sums();
            for (long k = 0; k < depth; k += 64, weights += 64 * PANEL) {
                _tile_loadd(4, rows + k, depth);
                _tile_loadd(6, weights, 4 * PANEL);
                _tile_dpbusd(0, 4, 6);
                _tile_loadd(7, weights + 64, 4 * PANEL);
                _tile_dpbusd(1, 4, 7);
                _tile_loadd(5, rows + TILE * depth + k, depth);
                _tile_dpbusd(2, 5, 6);
                _tile_dpbusd(3, 5, 7);
            }
            _tile_stored(0, sums + half, 4 * PANEL);
            _tile_stored(1, sums + half + 16, 4 * PANEL);
            _tile_stored(2, sums + TILE * PANEL + half, 4 * PANEL);
            _tile_stored(3, sums + TILE * PANEL + half + 16, 4 * PANEL);
        }
    }
}

/* Linux gives the registers of tiles to processes that ask; 0 where it does not. */
static inline int allowed(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

/* All eight registers of this thread as 16 rows of 64 bytes. */
static inline void begin_products(void) {
    static const struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } shape = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {TILE, TILE, TILE, TILE, TILE, TILE, TILE, TILE}};
    _tile_loadconfig(&shape);
}

static inline void end_products(void) { _tile_release(); }

#else

#define ROWS_AT_ONCE FEW_ROWS
#define INNER_ROWS 48

static inline void product(const uint8_t *rows, long count, long depth, const int8_t *panel, int32_t *sums) {
    PRODUCTS[count](rows, depth, panel, sums);
}

static inline int allowed(void) { return 1; }
static inline void begin_products(void) {}
static inline void end_products(void) {}

#endif
#endif
