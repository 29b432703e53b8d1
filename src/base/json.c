// SPDX-License-Identifier: MIT
// jansson with our allocator and our messages.
//
// jansson 2.14 does not look whether the text of a token could be kept (lex_save in its load.c
// drops the result), and may stop the program or read past the end when memory runs out there. So a
// failed allocation leaves the parser at once by longjmp, and everything that it had taken, which a
// set remembers, is given back. jansson holds no locks and no files meanwhile.
//
// jansson has one pair of functions for memory in a process, and a program may use it as well. Ours
// stand in front of the pair that was there before, and hand on to it, so that what the program
// made earlier goes back to where it came from; only a replaced allocator (rill_allocator_replace)
// is for jansson, too.
#include "base/json.h"

#include "base/file.h"

#include <pthread.h>
#include <setjmp.h>

typedef struct parse {
    jmp_buf out_of_memory;
    void **slots;  // the pieces that are alive: hashed by address, linear probing, NULL where free
    size_t n_slots;  // a power of two, 0 at first; at most half of them are taken
    size_t n_pieces;
} parse;

// The parse that goes on in this thread, NULL if none.
static _Thread_local parse *current;

static size_t home_slot(const parse *p, const void *piece) {
    return (size_t)(((uintptr_t)piece >> 4) * 0x9e3779b97f4a7c15u >> 20) & (p->n_slots - 1);
}

static void put_piece(parse *p, void *piece) {
    size_t i = home_slot(p, piece);
    while (p->slots[i]) i = (i + 1) & (p->n_slots - 1);
    p->slots[i] = piece;
}

static bool remember(parse *p, void *piece) {
    if (2 * (p->n_pieces + 1) > p->n_slots) {
        parse larger = {.n_slots = p->n_slots ? 2 * p->n_slots : 256};
        larger.slots = rill__calloc(larger.n_slots, sizeof *larger.slots);
        if (!larger.slots) return false;
        for (size_t i = 0; i < p->n_slots; i++)
            if (p->slots[i]) put_piece(&larger, p->slots[i]);
        rill__free(p->slots);
        p->slots = larger.slots;
        p->n_slots = larger.n_slots;
    }
    put_piece(p, piece);
    p->n_pieces++;
    return true;
}

static void forget(parse *p, const void *piece) {
    if (p->n_slots == 0) return;
    size_t mask = p->n_slots - 1, hole = home_slot(p, piece);
    while (p->slots[hole] && p->slots[hole] != piece) hole = (hole + 1) & mask;
    if (!p->slots[hole]) return;
    p->n_pieces--;
    // Later ones of the same run move up, unless that would put them before their home.
    for (size_t i = (hole + 1) & mask; p->slots[i]; i = (i + 1) & mask) {
        if (((i - home_slot(p, p->slots[i])) & mask) < ((i - hole) & mask)) continue;
        p->slots[hole] = p->slots[i];
        hole = i;
    }
    p->slots[hole] = NULL;
}

// What jansson used before.
static json_malloc_t jansson_malloc;
static json_free_t jansson_free;

static void release(void *memory) {
    if (rill__allocator_is_replaced())
        rill__free(memory);
    else
        jansson_free(memory);
}

static void *take_memory(size_t bytes) {
    void *memory = rill__allocator_is_replaced() ? rill__malloc(bytes) : jansson_malloc(bytes);
    if (!current || (memory && remember(current, memory))) return memory;
    if (memory) release(memory);
    longjmp(current->out_of_memory, 1);
}

static void give_memory(void *memory) {
    if (current && memory) forget(current, memory);
    release(memory);
}

static void use_our_memory(void) {
    json_get_alloc_funcs(&jansson_malloc, &jansson_free);
    json_set_alloc_funcs(take_memory, give_memory);
}

// jansson's own call; false when memory ran out. Nothing in this function's frame changes between
// setjmp and longjmp: the parse is the caller's (C11 7.13.2.1).
static bool load(parse *p, const char *text, size_t length, json_t **value, json_error_t *where) {
    if (setjmp(p->out_of_memory) != 0) return false;
    current = p;
    *value = json_loadb(text, length, JSON_ALLOW_NUL | JSON_DECODE_ANY, where);
    return true;
}

rill_status rill__json_parse(const char *name, const char *text, size_t length, json_t **out,
                             rill_error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, use_our_memory);
    parse p = {.n_slots = 0};
    json_t *value = NULL;
    json_error_t where;
    bool enough = load(&p, text, length, &value, &where);
    current = NULL;
    // What the parse took becomes the value's own, or is given back.
    for (size_t i = 0; !enough && i < p.n_slots; i++)
        if (p.slots[i]) release(p.slots[i]);
    rill__free(p.slots);
    if (!enough) return rill__fail_memory(err, name, length);
    if (!value)
        return rill__fail(err, RILL_EFORMAT, "%s: line %d, column %d: %s", name, where.line,
                          where.column, where.text);
    *out = value;
    return RILL_OK;
}

rill_status rill__json_load(const char *path, size_t ceiling, json_t **out, rill_error *err) {
    char *text;
    size_t length;
    rill_status status = rill__file_read(path, ceiling, &text, &length, err);
    if (status != RILL_OK) return status;
    status = rill__json_parse(path, text, length, out, err);
    rill__free(text);
    return status;
}

static int append(const char *bytes, size_t length, void *out) {
    return rill__bytes_append(out, bytes, length, NULL) == RILL_OK ? 0 : -1;
}

rill_status rill__json_append(const json_t *value, size_t flags, rill__bytes *out,
                              rill_error *err) {
    if (value && json_dump_callback(value, append, out, flags) == 0) return RILL_OK;
    return rill__fail_memory(err, "text of JSON", out->length);
}
