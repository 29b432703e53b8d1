// SPDX-License-Identifier: MIT
// The forms of conversations. Each is what the named model's own chat_template
// (tokenizer_config.json on its Hugging Face page) writes, unless another source is given.
#include "tokenizer/chat_rows.h"

#define T(name) RILL_CHAT_TOKEN name RILL_CHAT_TOKEN

const rill__chat_row rill__chat_rows[] = {
    {
        // Qwen2.5, SmolLM2, OpenHermes, and the model that rill ships.
        .name = "chatml",
        .needs = {"<|im_start|>"},
        .begin = {T("<|im_start|>") "system\n", T("<|im_start|>") "user\n",
                  T("<|im_start|>") "assistant\n"},
        .close = {T("<|im_end|>") "\n", T("<|im_end|>") "\n", "\n"},
        .answer = T("<|im_start|>") "assistant\n",
        .end = T("<|im_end|>"),
    },
    {
        // Meta-Llama-3-8B-Instruct.
        .name = "llama3",
        .needs = {"<|start_header_id|>"},
        .begin = {T("<|start_header_id|>") "system" T("<|end_header_id|>") "\n\n",
                  T("<|start_header_id|>") "user" T("<|end_header_id|>") "\n\n",
                  T("<|start_header_id|>") "assistant" T("<|end_header_id|>") "\n\n"},
        .close = {T("<|eot_id|>"), T("<|eot_id|>"), ""},
        .answer = T("<|start_header_id|>") "assistant" T("<|end_header_id|>") "\n\n",
        .end = T("<|eot_id|>"),
        .trim = true,
    },
    {
        // gemma-2-2b-it; the system message opens the first user turn, as gemma-3's template has
        // it.
        .name = "gemma",
        .needs = {"<start_of_turn>"},
        .begin = {T("<start_of_turn>") "user\n", T("<start_of_turn>") "user\n",
                  T("<start_of_turn>") "model\n"},
        .close = {"\n\n", T("<end_of_turn>") "\n", "\n"},
        .user_after_system = "",
        .answer = T("<start_of_turn>") "model\n",
        .end = T("<end_of_turn>"),
        .trim = true,
    },
    {
        // Phi-3-mini-4k-instruct.
        .name = "phi3",
        .needs = {"<|user|>", "<|end|>"},
        .begin = {T("<|system|>") "\n", T("<|user|>") "\n", T("<|assistant|>") "\n"},
        .close = {T("<|end|>") "\n", T("<|end|>") "\n", "\n"},
        .answer = T("<|assistant|>") "\n",
        .end = T("<|end|>"),
    },
    {
        // zephyr-7b-beta.
        .name = "zephyr",
        .needs = {"<|user|>"},
        .begin = {T("<|system|>") "\n", T("<|user|>") "\n", T("<|assistant|>") "\n"},
        .close = {RILL_CHAT_EOS "\n", RILL_CHAT_EOS "\n", "\n"},
        .answer = T("<|assistant|>") "\n",
        .end = RILL_CHAT_EOS,
    },
    {
        // Llama-2-7b-chat-hf.
        .name = "llama2",
        .needs = {"<<SYS>>"},
        .begin = {"[INST] <<SYS>>\n", "[INST] ", " "},
        .close = {"\n<</SYS>>\n\n", " [/INST]", ""},
        .user_after_system = "",
        .user_later = RILL_CHAT_BOS "[INST] ",
        .answer = "",
        .end = " " RILL_CHAT_EOS,
        .trim = true,
    },
    {
        // Mistral-7B-Instruct-v0.1; the system message opens the first user turn, as in v0.3.
        .name = "mistral",
        .needs = {"[INST]"},
        .begin = {T("[INST]") " ", T("[INST]") " ", ""},
        .close = {"\n\n", " " T("[/INST]"), ""},
        .user_after_system = "",
        .user_later = " " T("[INST]") " ",
        .answer = "",
        .end = RILL_CHAT_EOS,
    },
    {
        // vicuna-7b-v1.5: conversation "vicuna_v1.1" of FastChat's conversation.py.
        .name = "vicuna",
        .needs = {"USER:", "ASSISTANT:"},
        .begin = {"", "USER: ", "ASSISTANT: "},
        .close = {" ", " ", ""},
        .answer = "ASSISTANT:",
        .end = RILL_CHAT_EOS,
    },
    {
        // falcon-180B-chat.
        .name = "falcon",
        .needs = {"User:", "Falcon:"},
        .begin = {"System: ", "User: ", "Falcon: "},
        .close = {"\n", "\n", "\n"},
        .answer = "Falcon:",
        .end = RILL_CHAT_EOS,
    },
    {
        .name = "plain",
        .needs = {"User:", "Assistant:"},
        .begin = {"", "User: ", "Assistant: "},
        .close = {"\n\n", "\n", "\n"},
        .answer = "Assistant:",
        .end = RILL_CHAT_EOS,
    },
};

const size_t rill__chat_n_rows = sizeof rill__chat_rows / sizeof *rill__chat_rows;
