22
newsnot_permittedann may no longer read news