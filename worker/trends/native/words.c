/* Cuts texts into tokens and numbers them: what worker/trends/text.py does, for its commonest texts.

   A token is a run of ASCII letters, digits and underscores, folded, with a # or @ before it where it is a hashtag
   or a mention. Each different token has a number, in the order in which they first came, for as long as the table
   has room. Texts in which that is not so simple are left to the caller: other scripts, emoji, links, marks inside
   words, endless words. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST = 40, SPACE = 0, WORD = 1, MARK = 2 };

struct table {
    uint32_t most, n, slots;
    uint32_t *slot;   /* (slots,) number of a token + 1, or 0 */
    uint32_t *hash;   /* (most,) */
    uint32_t *start;  /* (most + 1,) where its letters begin */
    uint32_t *text;   /* (most,) the last text that it was found in, counted from 1 */
    char *letters;    /* (most * LONGEST,) */
    uint32_t texts;
    uint8_t kind[256];
    char folded[256];
};

void moodstream_words_close(struct table *t)
{
    if (t == NULL)
        return;
    free(t->slot);
    free(t->hash);
    free(t->start);
    free(t->text);
    free(t->letters);
    free(t);
}

/* `most`: how many tokens it numbers. NULL where there is no memory. */
struct table *moodstream_words_open(uint32_t most)
{
    struct table *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->most = most;
    for (t->slots = 64; t->slots < 2 * most; t->slots *= 2)
        ;
    t->slot = calloc(t->slots, sizeof *t->slot);
    t->hash = malloc(most * sizeof *t->hash);
    t->start = malloc((most + 1) * sizeof *t->start);
    t->text = malloc(most * sizeof *t->text);
    t->letters = malloc((size_t)most * LONGEST);
    if (!t->slot || !t->hash || !t->start || !t->text || !t->letters) {
        moodstream_words_close(t);
        return NULL;
    }
    t->start[0] = 0;
    for (int c = 0; c < 128; c++) {
        int upper = c >= 'A' && c <= 'Z';
        int word = upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
        t->kind[c] = word ? WORD : c == '#' || c == '@' ? MARK : SPACE;
        t->folded[c] = (char)(upper ? c + 'a' - 'A' : c);
    }
    return t;
}

/* The number of a token, a new one where it has none; -1 where the table is full. */
static int64_t number_of(struct table *t, const char *token, uint32_t length, uint32_t hash)
{
    uint32_t at = hash & (t->slots - 1);
    for (; t->slot[at] != 0; at = (at + 1) & (t->slots - 1)) {
        uint32_t number = t->slot[at] - 1;
        if (t->hash[number] == hash && t->start[number + 1] - t->start[number] == length &&
            memcmp(t->letters + t->start[number], token, length) == 0)
            return number;
    }
    if (t->n == t->most)
        return -1;
    uint32_t number = t->n++;
    memcpy(t->letters + t->start[number], token, length);
    t->start[number + 1] = t->start[number] + length;
    t->hash[number] = hash;
    t->text[number] = 0;
    t->slot[at] = number + 1;
    return number;
}

/* How many bytes of UTF-8 a character has of which no token is made though it is not ASCII; 0 of others: no-break
   space, dashes, quotation marks, the ellipsis. */
static int64_t separator(const uint8_t *c, int64_t left)
{
    if (left >= 2 && c[0] == 0xC2 && c[1] == 0xA0)
        return 2;
    if (left >= 3 && c[0] == 0xE2 && c[1] == 0x80 &&
        (c[2] == 0x93 || c[2] == 0x94 || (c[2] >= 0x98 && c[2] <= 0x9F) || c[2] == 0xA6))
        return 3;
    return 0;
}

/* One text. Writes the numbers of its different tokens, in the order in which they first come, and all tokens in a
   row, each between spaces, without marks. Answers how many numbers; -1 where the text is left to the caller, -2
   where the table is full. */
static int64_t scan(struct table *t, const char *text, int64_t length, int32_t *numbers, char *row, int64_t *row_length)
{
    char token[LONGEST];
    int64_t found = 0, out = 0, at = 0;
    t->texts++;
    row[out++] = ' ';
    while (at < length) {
        uint8_t kind = t->kind[(uint8_t)text[at]];
        if (kind == SPACE) {
            if (text[at] == ':' && at + 2 < length && text[at + 1] == '/' && text[at + 2] == '/')
                return -1;
            int64_t bytes = (uint8_t)text[at] < 128 ? 1 : separator((const uint8_t *)text + at, length - at);
            if (bytes == 0)
                return -1;
            at += bytes;
            continue;
        }
        uint32_t size = 0, hash = 2166136261u; /* FNV-1a, 32 bits */
        do {
            if (kind == MARK && size > 0)
                return -1;
            if (size == LONGEST)
                return -1;
            char c = t->folded[(uint8_t)text[at++]];
            token[size++] = c;
            hash = (hash ^ (uint8_t)c) * 16777619u;
            kind = at < length ? t->kind[(uint8_t)text[at]] : SPACE;
        } while (kind != SPACE);
        int marked = token[0] == '#' || token[0] == '@';
        if (marked && size == 1)
            continue;
        if (token[0] == '#' && (token[1] == '_' || (token[1] >= '0' && token[1] <= '9')))
            return -1;
        memcpy(row + out, token + marked, size - marked);
        out += size - marked;
        row[out++] = ' ';
        int64_t number = number_of(t, token, size, hash ^ hash >> 15);
        if (number < 0)
            return -2;
        if (t->text[number] != t->texts) {
            t->text[number] = t->texts;
            numbers[found++] = (int32_t)number;
        }
    }
    if (out == 1)
        row[out++] = ' ';
    *row_length = out;
    return found;
}

/* Many texts in UTF-8, one after the other in `letters`; text i ends at ends[i].

   numbers   (room for as many as there are bytes,)
   many      (n,) how many numbers each text has; -1 where it is left to the caller
   rows      (room for as many as there are bytes, and two for each text,)
   row_ends  (n,)

   Answers how many tokens have numbers now; -1 where the table is full, and nothing else is to be looked at. */
int64_t moodstream_words_scan(struct table *t, const char *letters, const int64_t *ends, int64_t n, int32_t *numbers,
                              int64_t *many, char *rows, int64_t *row_ends)
{
    int64_t start = 0, out = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t row_length = 0;
        if (t->texts == UINT32_MAX) {
            memset(t->text, 0, t->n * sizeof *t->text);
            t->texts = 0;
        }
        many[i] = scan(t, letters + start, ends[i] - start, numbers, rows + out, &row_length);
        if (many[i] == -2)
            return -1;
        if (many[i] > 0)
            numbers += many[i];
        out += row_length;
        row_ends[i] = out;
        start = ends[i];
    }
    return t->n;
}

/* The letters of the tokens from a number on, one after the other, and where each ends. */
void moodstream_words_tokens(const struct table *t, uint32_t first, char *letters, int64_t *ends)
{
    memcpy(letters, t->letters + t->start[first], t->start[t->n] - t->start[first]);
    for (uint32_t i = first; i < t->n; i++)
        ends[i - first] = t->start[i + 1] - t->start[first];
}
