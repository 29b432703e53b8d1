// SPDX-License-Identifier: MIT
// A tier's assignments, the body of its function.
k->product[RILL_TYPE_F32] = NAME(product_f32);
k->product[RILL_TYPE_F16] = NAME(product_f16);
k->product[RILL_TYPE_BF16] = NAME(product_bf16);
k->mix[RILL_TYPE_F32] = NAME(mix_f32);
k->mix[RILL_TYPE_F16] = NAME(mix_f16);
k->mix_end = NAME(mix_end);
k->product_groups = NAME(product_groups);
k->put_lane = NAME(put_lane);
k->lanes = LANES;
k->groups_from = LANES / 4 + 2;
k->decode[RILL_TYPE_F16] = NAME(decode_f16);
k->decode[RILL_TYPE_BF16] = NAME(decode_bf16);
k->exp_sum = NAME(exp_sum);
k->silu = NAME(silu);
k->gelu = NAME(gelu);
k->gelu_tanh = NAME(gelu_tanh);
k->clamped_swiglu = NAME(clamped_swiglu);
k->rms_norm = NAME(rms_norm);
k->burn_f32 = NAME(burn_f32);
k->burn_bf16 = NAME(burn_f32);
