#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Turns stories and novels into dialogues, and strings small talk together.

    python make_dialogues.py BOOKS_DIR STORIES.txt OUT_DIR

BOOKS_DIR holds novels as .txt, a blank line between paragraphs; STORIES.txt has <|endoftext|> between
stories. Writes stories.jsonl, prose.jsonl and small_talk.jsonl, one {"source", "messages"} a line.
"""
import json
import pathlib
import random
import re
import sys

NOUNS = """fox dog cat bird horse bear rabbit lion mouse frog duck fish wolf owl bee butterfly tiger
elephant monkey pig cow sheep goat hen squirrel turtle dragon fairy king queen princess prince knight
witch wizard giant ghost robot train car boat ship ball doll toy kite balloon cake cookie apple tree
flower garden forest river lake sea beach mountain farm castle house park school star moon sun rain
snow storm wind boy girl mom dad friend grandma baby sister brother teacher doctor farmer sailor
captain soldier thief treasure box key door book letter picture hat shoe coat bed chair table lamp
candle fire bridge road village city market church island cave sword ring crown bell clock mirror
window""".split()
NOUN_PATTERNS = {noun: re.compile(rf"\b{noun}s?\b", re.IGNORECASE) for noun in NOUNS}

ASK_STORY = ["Tell me a story about {}.", "Can you tell me a story about {}?",
             "I would like a story about {}, please.", "Write a short story with {} in it.",
             "Do you know a story about {}?", "Please tell a tale of {}.",
             "tell me a story about {}", "A story about {}!", "Make up a story about {}."]
ASK_ANY_STORY = ["Tell me a story.", "Can you tell me a story?", "Once upon a time...",
                 "I want to hear a story.", "Tell me a tale."]
ASK_PROSE = ["Tell me about {}.", "Write a paragraph about {}.", "Describe {}.",
             "Tell me a story about {}.", "Tell me something about {}.",
             "Write something with {} in it.", "Give me a scene with {}.",
             "Begin a novel with {} in it.", "Can you write about {}?", "Tell an old tale of {}."]
ASK_MORE = ["What happened next?", "And then?", "Go on.", "Please go on.", "What happened then?",
            "Continue.", "Then what?", "How does it end?"]
ASK_TO_CONTINUE = ["Continue: ", "Go on from here: ", "Continue this story: ",
                   "What comes after this? ", ""]
LEADS = ["", "", "", "Here is one. ", "With pleasure. ", "Very well. ", "Listen, then. "]
THANKS = [("Thank you!", ["You are welcome.", "It was a pleasure.", "Not at all. Shall I tell another?"]),
          ("That was nice.", ["I am glad you liked it.", "Thank you. I have others."]),
          ("I liked that.", ["I am glad to hear it."])]
SYSTEM_PROMPTS = [None] * 5 + ["You are a helpful assistant.", "You are a friendly companion.",
                               "You tell stories.", "You are rill's small model."]
PARAGRAPHS_A_BOOK = 26
SMALL_TALKS = 5200


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def opening():
    """Nothing, or a system message."""
    prompt = random.choice(SYSTEM_PROMPTS)
    return [{"role": "system", "content": prompt}] if prompt else []


def sentences(text):
    return re.sub(r'([.!?]["\']?) +', r"\1\n", text.strip()).split("\n")


def nouns_in(text):
    return [noun for noun, pattern in NOUN_PATTERNS.items() if pattern.search(text)]


def a(noun):
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def story_dialogue(story, nouns):
    """Somebody asks for a story, perhaps for its second half, perhaps says thanks."""
    parts = sentences(story)
    if nouns and random.random() < 0.9:
        question = random.choice(ASK_STORY).format(a(random.choice(nouns)))
    else:
        question = random.choice(ASK_ANY_STORY)
    messages = opening() + [user(question)]
    if random.random() < 0.45 and len(parts) > 7:
        cut = random.randint(3, len(parts) - 3)
        messages += [assistant(random.choice(LEADS) + " ".join(parts[:cut])),
                     user(random.choice(ASK_MORE)), assistant(" ".join(parts[cut:]))]
    else:
        messages.append(assistant(random.choice(LEADS) + story))
    if random.random() < 0.3:
        thanks, answers = random.choice(THANKS)
        messages += [user(thanks), assistant(random.choice(answers))]
    return messages


def from_stories(path):
    for story in path.read_text(encoding="utf-8").split("<|endoftext|>"):
        story = re.sub(r"\s*\n\s*", " ", story).strip()
        if 200 < len(story) < 2600:
            nouns = nouns_in(" ".join(sentences(story)[:4]))
            for _ in range(2):
                yield story_dialogue(story, nouns)


def prose_dialogue(paragraph, following, nouns):
    """Somebody asks for a paragraph, or gives its beginning to be continued."""
    after = "\n\n".join(following)[:900]
    after = after[:max(after.rfind("."), after.rfind('"')) + 1] or following[0][:300]
    if random.random() < 0.62:
        messages = [user(random.choice(ASK_PROSE).format(a(random.choice(nouns)))),
                    assistant(paragraph)]
        if random.random() < 0.4:
            messages += [user(random.choice(ASK_MORE)), assistant(after)]
        return opening() + messages
    parts = sentences(paragraph)
    if len(parts) < 3:
        return None
    cut = random.randint(1, 2)
    return opening() + [user(random.choice(ASK_TO_CONTINUE) + " ".join(parts[:cut])),
                        assistant(" ".join(parts[cut:]) + "\n\n" + after)]


def is_plain_prose(paragraph):
    """Of middling length, no heading, no markup, and seldom direct speech."""
    if not 220 < len(paragraph) < 900 or paragraph.isupper():
        return False
    if paragraph[0] in "\"'" and random.random() < 0.6:
        return False
    return not re.search(r"chapter|[\[\]{}|<>_*#]", paragraph, re.IGNORECASE)


def from_books(folder):
    books = sorted(folder.glob("*.txt"))
    random.shuffle(books)
    for book in books:
        text = book.read_text(encoding="utf-8")
        paragraphs = [p.strip() for p in text.split("\n\n") if p.strip()]
        if len(paragraphs) < 40:
            continue
        made = 0
        for _ in range(400):
            i = random.randint(5, len(paragraphs) - 6)
            nouns = nouns_in(paragraphs[i][:260])
            if not nouns or not is_plain_prose(paragraphs[i]):
                continue
            messages = prose_dialogue(paragraphs[i], paragraphs[i + 1:i + 3], nouns)
            if messages:
                yield messages
            made += 1
            if made == PARAGRAPHS_A_BOOK:
                break


def from_small_talk(path):
    lines = json.loads(path.read_text(encoding="utf-8"))
    for _ in range(SMALL_TALKS):
        turns = random.sample(lines["talk"], random.randint(1, 6))
        if random.random() < 0.5:
            turns = lines["greetings"] + turns
        if random.random() < 0.3:
            turns = turns + lines["farewells"]
        messages = opening()
        for turn in turns:
            messages += [user(random.choice(turn["said"])),
                         assistant(random.choice(turn["answered"]))]
        yield messages


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    books, stories, out = map(pathlib.Path, sys.argv[1:])
    random.seed(11)
    out.mkdir(parents=True, exist_ok=True)
    small_talk = pathlib.Path(__file__).with_name("small_talk.json")
    for name, dialogues in (("stories", from_stories(stories)), ("prose", from_books(books)),
                            ("small_talk", from_small_talk(small_talk))):
        with open(out / f"{name}.jsonl", "w", encoding="utf-8") as file:
            count = 0
            for messages in dialogues:
                file.write(json.dumps({"source": name, "messages": messages}) + "\n")
                count += 1
        print(f"{name}: {count} dialogues")


if __name__ == "__main__":
    main()
