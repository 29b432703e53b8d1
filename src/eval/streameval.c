// SPDX-License-Identifier: MIT
// StreamEval on a stream: records are read in chunks, answers compared token by token.
#include "eval/streameval.h"

#include "eval/text.h"

#include <math.h>
#include <string.h>

enum {
    MAX_ANSWER = 32,  // tokens: rows of logits that are held
    MAX_WORD = 64,    // bytes of a token that are looked at
    CHUNK = 4096,     // tokens that wait to be fed
};

// ---- Answers --------------------------------------------------------------------------------

rill__visibility rill__answer_visibility(const rill__answer *a) {
    if (a->visible_last == a->record) return RILL_VISIBLE_WHOLLY;
    return a->visible_first ? RILL_VISIBLE_PARTLY : RILL_VISIBLE_NOT;
}

void rill__accuracy_add(rill__accuracy *sum, const rill__answer *a) {
    sum->n++;
    sum->right += a->right;
    sum->n_characters += a->n_characters;
    sum->n_matching += a->n_matching;
    sum->visible[rill__answer_visibility(a)]++;
    sum->back += a->back;
}

double rill__accuracy_exact(const rill__accuracy *sum) {
    return sum->n ? (double)sum->right / (double)sum->n : NAN;
}

double rill__accuracy_characters(const rill__accuracy *sum) {
    return sum->n_characters ? (double)sum->n_matching / (double)sum->n_characters : NAN;
}

void rill__streameval_deinit(rill__streameval *s) {
    rill__free(s->answers);
    s->answers = NULL;
}

// Makes room for one more item of `size` bytes in a list.
static rill_status grow(void **items, size_t n, size_t *capacity, size_t size, rill_error *err) {
    if (n < *capacity) return RILL_OK;
    size_t wanted = *capacity ? 2 * *capacity : 256, bytes;
    void *grown = rill__mul_size(wanted, size, &bytes) ? rill__realloc(*items, bytes) : NULL;
    if (!grown) return rill__fail_memory(err, "results", wanted * size);
    *items = grown;
    *capacity = wanted;
    return RILL_OK;
}

static rill_status keep(rill__streameval *s, const rill__answer *a, rill_error *err) {
    void *items = s->answers;
    rill_status status = grow(&items, s->n_answers, &s->capacity, sizeof *a, err);
    s->answers = items;
    if (status == RILL_OK) s->answers[s->n_answers++] = *a;
    return status;
}

rill_status rill__streameval_take(rill__streameval *s, rill__case *c, const rill__answer *a,
                                  rill_error *err) {
    rill_status status = keep(s, a, err);
    return status == RILL_OK ? rill__case_append(c, a, 1, err) : status;
}

rill_status rill__streameval_recall(rill__streameval *s, rill__case *c, rill_error *err) {
    rill_status status = RILL_OK;
    for (uint64_t i = 0; i < rill__case_count(c) && status == RILL_OK; i++) {
        rill__answer a;
        status = rill__case_read(c, i, 1, &a, err);
        if (status == RILL_OK) status = keep(s, &a, err);
    }
    return status;
}

rill_status rill__spans_add(rill__spans *spans, uint64_t start, uint64_t length, rill_error *err) {
    void *items = spans->items;
    rill_status status = grow(&items, spans->n, &spans->capacity, sizeof *spans->items, err);
    spans->items = items;
    if (status == RILL_OK) spans->items[spans->n++] = (rill__span){start, length};
    return status;
}

void rill__spans_deinit(rill__spans *spans) {
    rill__free(spans->items);
    *spans = (rill__spans){0};
}

// ---- Tokens ---------------------------------------------------------------------------------

rill_status rill__streameval_tokens(const rill_model *model, rill__records *records,
                                    bool (*go_on)(void), uint64_t *n, rill_error *err) {
    rill_token *tokens = NULL;
    size_t some;
    uint64_t sum = 0;
    bool begins = true;
    rill_status status = rill__records_rewind(records, err);
    if (status == RILL_OK) status = rill__encode_begin(model, &tokens, &some, err);
    if (status != RILL_OK) return status;
    rill_tokens_free(tokens);
    sum = some;
    for (;;) {
        rill__item item;
        status = rill__records_next(records, &item, err);
        if (status == RILL_OK && go_on && !go_on())
            status = rill__fail(err, RILL_EINTERRUPTED, "interrupted");
        if (status != RILL_OK) return status;
        if (item.kind == RILL_ITEM_END) break;
        const char *texts[] = {item.text, item.answer, item.end};
        for (size_t i = 0; i < 3; i++) {
            if (!texts[i]) continue;
            status = rill__encode_piece(model, texts[i], begins, &tokens, &some, err);
            if (status != RILL_OK) return status;
            rill_tokens_free(tokens);
            sum += some;
            begins = false;
        }
    }
    *n = sum;
    return rill__records_rewind(records, err);
}

// ---- The stream -----------------------------------------------------------------------------

typedef struct measurement {
    rill_model *model;
    rill_stream *stream;
    rill__job *job;
    rill__streameval *out;
    size_t vocabulary;
    float *logits;  // [MAX_ANSWER, vocabulary]
    rill__spans records;
    rill_token *waiting;  // [CHUNK]: read from the text, not yet fed
    size_t n_waiting;
    uint64_t n_tokens;  // read from the text; those waiting included
    uint64_t n_known;   // tokens that the journal's stream has seen: read again, not fed
} measurement;

static rill_status feed_waiting(measurement *m, rill_error *err) {
    size_t n = m->n_waiting;
    m->n_waiting = 0;
    return n ? rill_stream_feed(m->stream, m->waiting, n, NULL, err) : RILL_OK;
}

static rill_status push(measurement *m, const rill_token *tokens, size_t n, rill_error *err) {
    rill_status status = RILL_OK;
    for (size_t i = 0; i < n && status == RILL_OK; i++, m->n_tokens++) {
        if (m->n_tokens < m->n_known) continue;
        if (m->n_waiting == CHUNK) status = feed_waiting(m, err);
        m->waiting[m->n_waiting++] = tokens[i];
    }
    return status;
}

static rill_status push_text(measurement *m, const char *text, bool begins, rill_error *err) {
    rill_token *tokens;
    size_t n;
    rill_status status = rill__encode_piece(m->model, text, begins, &tokens, &n, err);
    if (status != RILL_OK) return status;
    status = push(m, tokens, n, err);
    rill_tokens_free(tokens);
    return status;
}

static rill_status push_record(measurement *m, const rill__item *item, rill_error *err) {
    uint64_t start = m->n_tokens;
    rill_status status = push_text(m, item->text, m->records.n == 0, err);
    if (status != RILL_OK) return status;
    return rill__spans_add(&m->records, start, m->n_tokens - start, err);
}

static rill_token likeliest(const float *logits, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return (rill_token)best;
}

// The text of one token, cut to what fits.
static rill_status word(const rill_model *model, rill_token token, char out[MAX_WORD],
                        size_t *length, rill_error *err) {
    char *text;
    rill_status status = rill_decode(model, &token, 1, &text, length, err);
    if (status != RILL_OK) return status;
    if (*length > MAX_WORD) *length = MAX_WORD;
    memcpy(out, text, *length);
    rill_text_free(text);
    return RILL_OK;
}

// Compares what the stream would have written in the place of `truth`, character by character.
static rill_status compare(measurement *m, const float *logits, rill_token truth, rill__answer *a,
                           rill_error *err) {
    char wanted[MAX_WORD], given[MAX_WORD];
    size_t n_wanted, n_given = 0;
    rill_token token = likeliest(logits, m->vocabulary);
    rill_status status = word(m->model, truth, wanted, &n_wanted, err);
    if (status == RILL_OK) status = word(m->model, token, given, &n_given, err);
    for (size_t i = 0; i < n_wanted && status == RILL_OK; i++)
        a->n_matching += i < n_given && wanted[i] == given[i];
    a->n_characters += (uint32_t)n_wanted;
    if (token != truth) a->right = 0;
    return status;
}

// An answer must end where it should, 271 or 271828 is none where 27182 was asked for: with what
// follows in the text, a token of it at least, or with the text, as it does for a server that says
// no more.
static rill_status check_end(measurement *m, const float *logits, const rill__item *item,
                             rill__answer *a, rill_error *err) {
    char stop[RILL_MAX_CHARACTER], given[MAX_WORD];
    size_t n;
    rill_token token = likeliest(logits, m->vocabulary);
    if (rill_is_end(m->model, token)) return RILL_OK;
    rill_status status = word(m->model, token, given, &n, err);
    rill__item_stop(item, stop);
    // A token may be less than a character.
    size_t compared = n < strlen(stop) ? n : strlen(stop);
    if (status == RILL_OK && (n == 0 || memcmp(given, stop, compared) != 0)) a->right = 0;
    return status;
}

// Tokens of the record that the stream's last token sees.
static uint32_t visible(const rill_stream *stream, const rill__span *record) {
    rill_stream_report r;
    rill_stream_get_report(stream, &r);
    uint64_t sinks = r.sinks < r.held ? r.sinks : r.held;
    uint64_t first_recent = r.seen - (r.held - sinks), end = record->start + record->length;
    uint64_t kept = record->start < sinks ? (end < sinks ? end : sinks) - record->start : 0;
    uint64_t from = record->start > first_recent ? record->start : first_recent;
    // While nothing was evicted the sinks are all that there is before the first recent token.
    if (from < sinks) from = sinks;
    return (uint32_t)(kept + (end > from ? end - from : 0));
}

// Has the answer given and compared, `answer` its true tokens, which are fed.
static rill_status try_answer(measurement *m, const rill__item *item, const rill_token *answer,
                              size_t n, rill__answer *a, rill_error *err) {
    const rill__span *record = &m->records.items[m->records.n - 1 - item->distance];
    const float *logits;
    rill_status status = feed_waiting(m, err);
    if (status == RILL_OK) status = rill_stream_logits(m->stream, &logits, err);
    if (status != RILL_OK) return status;
    *a = (rill__answer){
        .place = m->n_tokens,
        .n_records = m->records.n,
        .distance = (uint32_t)item->distance,
        .back = (uint32_t)(m->n_tokens - record->start),
        .record = (uint32_t)record->length,
        .visible_first = visible(m->stream, record),
        .right = 1,
    };
    status = compare(m, logits, answer[0], a, err);
    if (status == RILL_OK) status = rill_stream_feed(m->stream, answer, n, m->logits, err);
    m->n_tokens += n;
    a->visible_last = visible(m->stream, record);
    for (size_t i = 1; i < n && status == RILL_OK; i++)
        status = compare(m, m->logits + (i - 1) * m->vocabulary, answer[i], a, err);
    if (status == RILL_OK) status = check_end(m, m->logits + (n - 1) * m->vocabulary, item, a, err);
    return status;
}

static rill_status answer_question(measurement *m, const rill__item *item, rill_error *err) {
    rill_token *answer = NULL;
    size_t n;
    rill__answer a;
    rill_status status = push_text(m, item->text, false, err);
    if (status == RILL_OK)
        status = rill__encode_piece(m->model, item->answer, false, &answer, &n, err);
    if (status != RILL_OK) return status;
    if (m->n_tokens < m->n_known) {
        status = push(m, answer, n, err);  // answered before, its record is in the journal
    } else if (n == 0 || n > MAX_ANSWER) {
        status = rill__fail(err, RILL_EINVAL, "the answer '%.80s' has %zu tokens: wants 1 to %d",
                            item->answer, n, MAX_ANSWER);
    } else {
        status = try_answer(m, item, answer, n, &a, err);
        if (status == RILL_OK) status = rill__streameval_take(m->out, m->job->journal, &a, err);
    }
    rill_tokens_free(answer);
    return status == RILL_OK ? push_text(m, item->end, false, err) : status;
}

// Reads all items; what the journal knows is not told again.
static rill_status read_on(measurement *m, rill__records *records, uint64_t n_questions,
                           rill_error *err) {
    for (;;) {
        rill__item item;
        rill_status status = rill__records_next(records, &item, err);
        if (status != RILL_OK || item.kind == RILL_ITEM_END) return status;
        bool known = m->n_tokens < m->n_known;
        status = item.kind == RILL_ITEM_RECORD ? push_record(m, &item, err)
                                               : answer_question(m, &item, err);
        if (status == RILL_OK && item.kind == RILL_ITEM_QUESTION && !known &&
            rill__job_tell(m->job, m->out->n_answers, n_questions)) {
            status = feed_waiting(m, err);
            if (status == RILL_OK) status = rill__job_save(m->job, m->stream, "questions", err);
        }
        if (status != RILL_OK) return status;
    }
}

// Opens the stream, or the one that the journal has kept.
static rill_status open_stream(measurement *m, const rill_stream_options *options,
                               rill_error *err) {
    rill_stream_report report = {0};
    rill_status status = rill__job_begin(m->job, m->model, &m->stream, err);
    if (status == RILL_OK) status = rill__streameval_recall(m->out, m->job->journal, err);
    if (status == RILL_OK && !m->stream)
        status = rill_stream_open(m->model, options, &m->stream, err);
    if (status != RILL_OK) return status;
    rill_stream_get_report(m->stream, &report);
    m->n_known = report.seen;
    return RILL_OK;
}

static rill_status run(measurement *m, const rill_stream_options *options, rill__records *records,
                       rill_error *err) {
    rill__records_facts facts;
    rill_token *begin = NULL;
    size_t n;
    rill_status status = rill__records_scan(records, NULL, &facts, err);
    if (status == RILL_OK) status = open_stream(m, options, err);
    if (status == RILL_OK) status = rill__encode_begin(m->model, &begin, &n, err);
    if (status != RILL_OK) return status;
    status = push(m, begin, n, err);
    rill_tokens_free(begin);
    if (status == RILL_OK) status = read_on(m, records, facts.n_questions, err);
    return status == RILL_OK ? rill__job_finish(m->job, err) : status;
}

rill_status rill__streameval_measure(rill_model *model, const rill_stream_options *options,
                                     rill__records *records, rill__job *job, rill__streameval *out,
                                     rill_error *err) {
    measurement m = {.model = model, .job = job, .out = out};
    rill_model_info info;
    size_t bytes;
    *out = (rill__streameval){0};
    if (rill__case_finished(job->journal)) {
        out->seconds = rill__job_seconds(job);
        return rill__streameval_recall(out, job->journal, err);
    }
    rill_model_get_info(model, &info);
    m.vocabulary = info.vocab_size;
    if (!rill__mul_size(MAX_ANSWER * sizeof(float), m.vocabulary, &bytes))
        return rill__fail_memory(err, "logits", SIZE_MAX);
    m.logits = rill__malloc(bytes);
    m.waiting = rill__malloc(CHUNK * sizeof *m.waiting);
    rill_status status = m.logits && m.waiting ? RILL_OK : rill__fail_memory(err, "logits", bytes);
    if (status == RILL_OK) status = run(&m, options, records, err);
    out->seconds = rill__job_seconds(job);
    rill_stream_close(&m.stream);
    rill__spans_deinit(&m.records);
    rill__free(m.logits);
    rill__free(m.waiting);
    return status;
}
