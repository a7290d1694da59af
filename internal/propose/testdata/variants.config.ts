#!/usr/bin/env -S npx tsx
/* The growth loops of Acme. An old one was
   defineLoop({steps: [{condition: {limit: 1}}]}) */
import type { GrowthLoop, LimitMap as Limits } from "@skene/growth";
import { defineConfig, defineLoop } from "@skene/growth";
import { partnerLoop } from './partner';

const FREE: number = 1_000;          // don't change
const LIMITS = { hobby: 25, team: 2_500, enterprise: Infinity } as const satisfies Limits;
const PROMPT = { type: 'email', provider: "resend", template: 'upgrade_prompt' } as const;
const isOver = (used: number) => used >= FREE && /['"`{]/.test('x');

export const exportsLoop = defineLoop<GrowthLoop>({
  id: 'exports',
  description: `Exports cost money`,
  steps: [
    // Two steps with names of their own,
    {
      name: "CSV export", trigger: 'POST /api/v1/export/csv',
      condition: { type: 'usage', limit: { ...LIMITS }, period: 'monthly' },
      action: { type: 'block', message: "No exports left. It's " + 'time to upgrade.', upgradePrompt: PROMPT, },
      recovery: { retries: 0, },
    },
    [ /* … nested, */ {
      id: 'pdf-export',
      trigger: { type: 'api', path: '/api/v1/export/:kind/pdf', methods: ['POST'] },
      condition: [{ type: 'usage', limits: [{ plan: 'hobby', limit: 5 }, { plan: 'team', limit: 1e3 }], per: 'day' }],
      actions: [{ type: 'block', message: `${LIMITS.hobby} PDFs are enough` }, { type: 'email', template: 'pdf_limit' }],
    } ],
    { id: 'welcome', trigger: { type: 'signup' }, action: { type: 'email', template: 'welcome' } },
  ],
});

export default defineConfig({
  telemetry: { enabled: true, sink: () => { /* ) */ return [FREE, isOver]; } },
  loops: [
    exportsLoop,
    defineLoop({ opinion: 'Calls', steps: [{ trigger: '/api/calls/**', condition: { type: 'usage', limit: { hobby: FREE, team: Number.POSITIVE_INFINITY }, period: '7 days' }, action: { type: 'block', message: 'That's it, you've used what your plan's limit was (1,000 'calls').' } }, { trigger: 'PUT /api/calls/:id', condition: { type: 'usage', limit: { hobby: 10 } }, action: { type: 'block' } }], }),
    {
      name: "Tokens",
      steps: [{
        trigger: { type: 'event', event: 'llm.tokens' },
        condition: { type: 'usage', limit: { hobby: 50_000, team: Infinity, enterprise: Infinity }, period: '30d' },
        action: { type: 'block', onBlock() { return { retry: false }; } },
      }],
    } satisfies GrowthLoop,
    partnerLoop,
  ],
});
