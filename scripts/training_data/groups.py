"""Fine intents put together in other ways, so that one text has several good partitions."""

from collections.abc import Mapping

# What a bank's customer writes about, and what is the matter with it.
BANK_OBJECTS = {
    "card": (
        *("activate_my_card", "card_about_to_expire", "card_acceptance", "card_arrival"),
        *("card_delivery_estimate", "card_linking", "card_not_working", "card_swallowed"),
        *("compromised_card", "contactless_not_working", "disposable_card_limits"),
        *("get_disposable_virtual_card", "get_physical_card", "getting_spare_card"),
        *("getting_virtual_card", "lost_or_stolen_card", "order_physical_card"),
        *("virtual_card_not_working", "visa_or_mastercard"),
    ),
    "card payment": (
        *("card_payment_fee_charged", "card_payment_not_recognised", "declined_card_payment"),
        *("card_payment_wrong_exchange_rate", "pending_card_payment", "reverted_card_payment?"),
        "apple_pay_or_google_pay",
    ),
    "refund": ("Refund_not_showing_up", "request_refund"),
    "transfer": (
        *("beneficiary_not_allowed", "cancel_transfer", "declined_transfer", "failed_transfer"),
        *("pending_transfer", "transfer_fee_charged", "transfer_into_account", "transfer_timing"),
        *("transfer_not_received_by_recipient", "balance_not_updated_after_bank_transfer"),
    ),
    "adding money": (
        *("automatic_top_up", "pending_top_up", "top_up_by_bank_transfer_charge"),
        *("top_up_by_card_charge", "top_up_by_cash_or_cheque", "top_up_failed", "top_up_limits"),
        *("top_up_reverted", "topping_up_by_card", "verify_top_up"),
    ),
    "cash": (
        *("atm_support", "cash_withdrawal_charge", "cash_withdrawal_not_recognised"),
        *("declined_cash_withdrawal", "pending_cash_withdrawal", "wrong_amount_of_cash_received"),
        "wrong_exchange_rate_for_cash_withdrawal",
    ),
    "currency": ("exchange_charge", "exchange_rate", "exchange_via_app", "fiat_currency_support"),
    "identity": (
        *("unable_to_verify_identity", "verify_my_identity", "why_verify_identity"),
        *("verify_source_of_funds", "edit_personal_details"),
    ),
    "codes": ("change_pin", "passcode_forgotten", "pin_blocked"),
}
BANK_PROBLEMS = {
    "fee": (
        *("card_payment_fee_charged", "cash_withdrawal_charge", "exchange_charge"),
        *("top_up_by_bank_transfer_charge", "top_up_by_card_charge", "transfer_fee_charged"),
    ),
    "refused": (
        *("card_not_working", "contactless_not_working", "declined_card_payment"),
        *("declined_cash_withdrawal", "declined_transfer", "failed_transfer", "top_up_failed"),
        *("virtual_card_not_working", "beneficiary_not_allowed", "unable_to_verify_identity"),
        *("pin_blocked", "reverted_card_payment?", "top_up_reverted"),
    ),
    "waiting": (
        *("pending_card_payment", "pending_cash_withdrawal", "pending_top_up", "card_arrival"),
        *("pending_transfer", "balance_not_updated_after_bank_transfer", "Refund_not_showing_up"),
        *("balance_not_updated_after_cheque_or_cash_deposit", "card_delivery_estimate"),
        *("transfer_not_received_by_recipient", "transfer_timing"),
    ),
    "unknown": (
        *("card_payment_not_recognised", "cash_withdrawal_not_recognised", "compromised_card"),
        *("direct_debit_payment_not_recognised", "transaction_charged_twice"),
        "extra_charge_on_statement",
    ),
    "wrong amount": (
        *("card_payment_wrong_exchange_rate", "wrong_amount_of_cash_received"),
        "wrong_exchange_rate_for_cash_withdrawal",
    ),
    "lost": ("card_swallowed", "lost_or_stolen_card", "lost_or_stolen_phone", "passcode_forgotten"),
    "getting": (
        *("get_disposable_virtual_card", "get_physical_card", "getting_spare_card"),
        *("getting_virtual_card", "order_physical_card", "activate_my_card", "card_linking"),
    ),
    "rules": (
        *("age_limit", "atm_support", "automatic_top_up", "card_acceptance", "country_support"),
        *("disposable_card_limits", "fiat_currency_support", "supported_cards_and_currencies"),
        *("top_up_limits", "visa_or_mastercard", "why_verify_identity", "exchange_rate"),
    ),
}
# What kind of thing the user of an assistant does.
ACTS = {
    "own affairs": (
        *("balance", "bill_balance", "bill_due", "calendar", "credit_limit", "credit_score"),
        *("gas", "income", "insurance", "last_maintenance", "meeting_schedule", "min_payment"),
        *("mpg", "order_status", "payday", "pto_balance", "pto_request_status", "pto_used"),
        *("reminder", "rewards_balance", "shopping_list", "spending_history", "tire_pressure"),
        *("todo_list", "transactions", "application_status", "interest_rate", "apr"),
        *("expiration_date", "current_location", "user_name", "w2"),
    ),
    "facts": (
        *("calories", "carry_on", "cook_time", "date", "definition", "distance", "exchange_rate"),
        *("food_last", "how_busy", "ingredients_list", "international_visa", "next_holiday"),
        *("measurement_conversion", "nutrition_info", "plug_type", "restaurant_reviews"),
        *("spelling", "time", "timezone", "traffic", "translate", "travel_alert", "vaccines"),
        *("weather", "calculator", "ingredient_substitution", "recipe", "gas_type"),
        *("international_fees", "flight_status", "accept_reservations"),
    ),
    "advice": (
        *("improve_credit_score", "jump_start", "meal_suggestion", "oil_change_how"),
        *("restaurant_suggestion", "rollover_401k", "tire_change", "travel_suggestion"),
    ),
    "action": (
        *("alarm", "book_flight", "book_hotel", "calendar_update", "car_rental", "flip_coin"),
        *("cancel_reservation", "freeze_account", "make_call", "new_card", "next_song", "order"),
        *("order_checks", "pay_bill", "play_music", "pto_request", "reminder_update"),
        *("restaurant_reservation", "roll_dice", "schedule_maintenance", "schedule_meeting"),
        *("share_location", "shopping_list_update", "smart_home", "text", "timer"),
        *("todo_list_update", "transfer", "uber", "update_playlist", "find_phone"),
    ),
    "setting": (
        *("change_accent", "change_ai_name", "change_language", "change_speed"),
        *("change_user_name", "change_volume", "pin_change", "reset_settings", "sync_device"),
        "whisper_mode",
    ),
    "trouble": (
        *("account_blocked", "card_declined", "damaged_card", "lost_luggage", "report_fraud"),
        "report_lost_card",
    ),
    "chat": (
        *("are_you_a_bot", "do_you_have_pets", "fun_fact", "goodbye", "greeting", "thank_you"),
        *("how_old_are_you", "meaning_of_life", "tell_joke", "what_are_your_hobbies"),
        *("what_is_your_name", "where_are_you_from", "who_do_you_work_for", "who_made_you"),
    ),
    "reply": ("maybe", "no", "yes"),
}


def group(groups: Mapping[str, tuple[str, ...]], member: str) -> str:
    """The group of a label, or "" if it is in none."""
    return next((name for name, members in groups.items() if member in members), "")
