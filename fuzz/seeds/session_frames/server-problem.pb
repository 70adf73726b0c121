r0
too_many_subscriptions128 is the limitnews